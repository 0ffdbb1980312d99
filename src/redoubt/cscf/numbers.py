"""Telephone numbers in Request-URIs, as the S-CSCF and the BGCF read them (RFC 3966, RFC 3261 19.1.6)."""

from redoubt.sip.uri import SEPARATORS, SipUri, TelUri, Uri


def called_number(uri: Uri) -> str:
    """The number that a tel URI, or a SIP URI with user=phone, names, without separators; "" for anything else."""
    if isinstance(uri, TelUri):
        return uri.number.translate(SEPARATORS)
    if isinstance(uri, SipUri) and uri.user and uri.param("user") == "phone":
        number = uri.user.partition(";")[0].translate(SEPARATORS)
        return number if number.isascii() and number.removeprefix("+").isdecimal() else ""
    return ""
