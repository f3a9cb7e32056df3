"""Arrays and results to matplotlib axes; nothing here reads or writes a file, or changes a setting of matplotlib.

A function that draws one panel takes `ax`, draws on it or on a figure of its own, and returns the axes; one that
draws several makes a figure and returns their axes as an array. `matrices` alone turns stored [true, predicted]
arrays into the article's view. Colours are from palettes that survive colour blindness and grey print; where colour
carries meaning, a mark, a number or a line style carries it too.
"""
