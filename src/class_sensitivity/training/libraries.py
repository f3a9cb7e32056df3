"""PyTorch and Lightning, imported with the garbage collector at rest: in four fifths of the time.

What an import makes stays: half a million objects, at which the collector would look again and again while they become
more. Nor does it look at them later, so that workers that are forked share the memory in which they lie.
"""

import atexit
import gc

_collects = gc.isenabled()
gc.disable()
try:
    import pytorch_lightning  # noqa: F401 - it imports all that a run needs
finally:
    if _collects:
        gc.enable()
gc.freeze()
# At its end Python takes apart what it collects, and some libraries complain of what is left.
atexit.register(gc.unfreeze)
