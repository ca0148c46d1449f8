"""torch with a client of HTTP beside it: models of this machine answer, and one behind a server judges them."""

from runtime.contract import Backend

BACKEND = Backend(
    name="torch_http",
    version=1,
    operations={"evaluate": "runtime.asking.hosted_judge:evaluate"},
    devices="runtime.models.device:words",
    requires={
        "httpx": "0.28.1",
        "stamina": "26.1.0",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "tokenizers": "0.23.3",
        "safetensors": "0.8.0",
        "sentencepiece": "0.2.3",
        "jinja2": "3.1.6",
        "numpy": "2.4.6",
    },
    extra="http",
)
