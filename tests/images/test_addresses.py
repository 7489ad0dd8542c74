"""An address of the inner network is known as one, however it is written."""

import pytest

from maskloop.images.addresses import is_inner, is_public

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INNER = ["127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
NEITHER = [
    "169.254.169.254",  # cloud metadata
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "64:ff9b::a9fe:a9fe",  # 169.254.169.254 behind a translator
    "2002:a9fe:a9fe::1",  # and in 6to4
    "2001:0:808:808::5601:5601",  # and in Teredo
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)
    assert not is_inner(address)


@pytest.mark.parametrize("address", INNER)
def test_inner(address: str) -> None:
    assert not is_public(address)
    assert is_inner(address)


@pytest.mark.parametrize("address", NEITHER)
def test_neither(address: str) -> None:
    assert not is_public(address)
    assert not is_inner(address)


@pytest.mark.parametrize("address", ["64:ff9b::a00:1", "2002:7f00:1::", "2001:0:a00:1::1"])
def test_an_inner_address_inside_another_is_not_public(address: str) -> None:
    assert not is_public(address)
