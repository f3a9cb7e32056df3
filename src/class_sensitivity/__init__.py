"""Which classes can a model be fooled about, by wrong labels or by missing data?"""

__version__ = "0.1.0"
