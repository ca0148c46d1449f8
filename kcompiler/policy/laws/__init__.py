"""A report that satisfies the schema of its kind → the first thing in it that contradicts the rest of it, or "".

What a report says twice must agree, or it was not measured. One file for each way in which it is said twice:

- `counts`: one datum, whose interval and comparison follow from the counts in it (read with every datum);
- `sums`: numbers that belong together, as a schema says under `x-laws`;
- `formulas`: data that others give, as a schema says under `x-derived`; one file each;
- `remade`: kinds of reports that hold what they were computed from.

One more sum or formula of a report is a line in its schema, one more formula a file in `formulas`, one more report that
is computed again a line in `remade`. One more way is one more file here and its line in `whole`, which asks them all.
"""
