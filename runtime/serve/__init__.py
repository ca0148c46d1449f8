"""An engine and a socket → OpenAI's chat completions over HTTP: `/v1/chat/completions`, `/v1/models`, health, metrics.

`wire` reads requests and says what is wrong with them, `reply` writes answers in OpenAI's form, `worker` lets many
answers grow in one thread, `protocol` ends connections that stall, `app` joins them, `server` starts and drains. What
the API has and this does not is refused with status 400, never ignored.
"""
