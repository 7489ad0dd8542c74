"""Which IP addresses lie in the open internet, and which in somebody's own network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

NAT64 = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that a translator turns into the IPv4 address in their last four bytes (RFC 6052)."""


def is_public(address: str) -> bool:
    """Whether ``address`` is of the open internet: not private, loopback, link-local, multicast or reserved."""
    return all(part.is_global and not part.is_multicast for part in _embedded(address))


def is_inner(address: str) -> bool:
    """Whether ``address`` is of an own network or machine: private or loopback.

    Link-local addresses are neither public nor inner: clouds hand out credentials there.
    """
    return all(
        (part.is_private or part.is_loopback)
        and not (part.is_link_local or part.is_multicast or part.is_unspecified)
        and str(part) != "255.255.255.255"
        for part in _embedded(address)
    )


def _embedded(address: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses that a packet to ``address`` may reach: IPv6 can carry an IPv4 address inside."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return (ip,)
    if ip.ipv4_mapped:
        return (ip.ipv4_mapped,)
    if ip in NAT64:
        return (IPv4Address(ip.packed[-4:]),)
    if ip.sixtofour:
        return (ip, ip.sixtofour)
    if ip.teredo:
        return (ip, *ip.teredo)
    return (ip,)
