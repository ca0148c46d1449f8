"""Evidence → what a stranger says of it with nothing but Python: the modules here import the standard library and one
another, and run on Python 3.9. One more thing that a stranger can check is one more file.
"""
