"""A folder that holds a model and a request → text, one piece at a time: the one engine of `generate` and `serve`.

`models` opens a folder (a Transformers folder, and the saved package beside it) and runs it token by token; `words`
renders a chat by the folder's own template and encodes it; `sampling` chooses the next token, `grammar` forbids those
that a JSON schema excludes, `text` turns ids into pieces that may be shown, `engine` puts them together. Another way of
running a model is a class with `begin` and `width` in `models`.
"""
