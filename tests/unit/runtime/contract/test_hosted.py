"""An address that no request can be sent to is refused where it is written."""

import pytest
from pydantic import ValidationError

from runtime.contract.hosted import Endpoint


@pytest.mark.parametrize("url", ["https://[", "https://a.example:99999/v1", "https://a.example:0/v1", "https://:80/v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="it is no address"):
        Endpoint(base_url=url, model="m")


@pytest.mark.parametrize("url", ["https://a.example/v1", "http://[::1]:8000/v1", "http://127.0.0.1:8000"])
def test_an_address_is_kept_as_it_is_written(url: str) -> None:
    assert Endpoint(base_url=url, model="m").base_url == url
