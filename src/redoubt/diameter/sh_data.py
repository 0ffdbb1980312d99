"""The Sh-Data document, both ways (TS 29.328 Annexes C and D), within the bounds of every document (row 112).

Transparent data stay what the application server wrote: they are checked to be XML and otherwise not looked into.
"""

from functools import lru_cache
from importlib.resources import as_file, files

from lxml import etree

from redoubt.diameter.sh import ImsUserState, Repository, ShData
from redoubt.diameter.user_data import UserDataRefused, criterion_text, read_criterion
from redoubt.limits import USER_DATA_CRITERIA, USER_DATA_OCTETS
from redoubt.xml import Element, XmlRefused, child_text, escaped, parse_xml


def build_sh_data(data: ShData) -> bytes:
    """The document's octets; elements in the order of the schema."""
    pieces = ['<?xml version="1.0" encoding="UTF-8"?><Sh-Data>']
    if data.impus or data.msisdns:
        impus = "".join(f"<IMSPublicIdentity>{escaped(impu)}</IMSPublicIdentity>" for impu in data.impus)
        msisdns = "".join(f"<MSISDN>{escaped(msisdn)}</MSISDN>" for msisdn in data.msisdns)
        pieces.append(f"<PublicIdentifiers>{impus}{msisdns}</PublicIdentifiers>")
    pieces += map(_repository_text, data.repository)
    pieces.append(_ims_data_text(data))
    pieces.append("</Sh-Data>")
    return "".join(pieces).encode("utf-8", "replace")


def parse_sh_data(octets: bytes) -> ShData:
    """Raises UserDataRefused."""
    if len(octets) > USER_DATA_OCTETS:
        raise UserDataRefused(f"Sh data have more than {USER_DATA_OCTETS} octets", too_much=True)
    try:
        root = parse_xml(octets, USER_DATA_OCTETS)
        _schema().assertValid(root)
    except (XmlRefused, etree.DocumentInvalid) as fault:
        raise UserDataRefused(f"the document is not as TS 29.328 Annex D has it: {str(fault)[:300]}") from fault
    ims = root.find("Sh-IMS-Data")
    criteria = None if ims is None else ims.find("IFCs")
    if criteria is not None and len(criteria) > USER_DATA_CRITERIA:
        raise UserDataRefused(f"there are more than {USER_DATA_CRITERIA} filter criteria", too_much=True)
    name = None if ims is None else ims.find("S-CSCFName")
    state = "" if ims is None else child_text(ims, "IMSUserState")
    return ShData(
        tuple([(one.text or "").strip() for one in root.iterfind("PublicIdentifiers/IMSPublicIdentity")]),
        tuple([(one.text or "").strip() for one in root.iterfind("PublicIdentifiers/MSISDN")]),
        tuple([_repository(one) for one in root.iterfind("RepositoryData")]),
        None if name is None else (name.text or "").strip(),
        None if criteria is None else tuple([read_criterion(one) for one in criteria]),
        ImsUserState(int(state)) if state else None,
    )


def _repository_text(entry: Repository) -> str:
    data = "" if entry.service_data is None else f"<ServiceData>{entry.service_data}</ServiceData>"
    return (
        f"<RepositoryData><ServiceIndication>{escaped(entry.service)}</ServiceIndication>"
        f"<SequenceNumber>{entry.sequence}</SequenceNumber>{data}</RepositoryData>"
    )


def _ims_data_text(data: ShData) -> str:
    text = ""
    if data.s_cscf_name is not None:
        text += f"<S-CSCFName>{escaped(data.s_cscf_name)}</S-CSCFName>"
    if data.criteria is not None:
        text += f"<IFCs>{''.join(map(criterion_text, data.criteria))}</IFCs>"
    if data.user_state is not None:
        text += f"<IMSUserState>{data.user_state.value}</IMSUserState>"
    return f"<Sh-IMS-Data>{text}</Sh-IMS-Data>" if text else ""


def _repository(element: Element) -> Repository:
    data = element.find("ServiceData")
    return Repository(
        child_text(element, "ServiceIndication"),
        int(child_text(element, "SequenceNumber")),
        None if data is None else _inside(data),
    )


def _inside(element: Element) -> str:
    """What stands between an element's tags, as XML."""
    children = [etree.tostring(child, encoding="unicode") for child in element]
    return escaped(element.text or "") + "".join(children)


@lru_cache(1)
def _schema() -> etree.XMLSchema:
    with as_file(files(__package__)) as folder:  # it includes the schema of Cx, which stands beside it
        return etree.XMLSchema(etree.parse(str(folder / "sh_data.xsd")))
