"""A runner's declaration and what it is to ask → a model that answers, its items, and how far two of them agree."""
