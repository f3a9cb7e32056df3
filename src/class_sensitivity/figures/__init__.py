"""Labelled arrays to matplotlib figures; nothing here reads or writes a file.

`matrices` alone turns stored [true, predicted] arrays into the article's view. Colours are from
palettes that survive colour blindness and grey print; where colour carries meaning, a mark, a
number or a line style carries it too.
"""

import matplotlib

matplotlib.rcParams["text.parse_math"] = False  # a class may be called $x$
matplotlib.rcParams["svg.hashsalt"] = "class-sensitivity"  # the same input gives the same SVG to the byte
