"""Every bound of the system, each with its reason. Beyond a bound a thing is refused, never truncated."""

# SIP messages (requirement row 94). A REGISTER with two Security headers and an IMS 200 stay below 4 kB;
# these leave room for growth and keep the cost of one hostile message below a millisecond.
SIP_LINE_OCTETS = 8 * 1024
SIP_HEADER_SECTION_OCTETS = 64 * 1024
SIP_HEADER_LINES = 256
SIP_BODY_OCTETS = 64 * 1024
SIP_URI_PARAMETERS = 64
SIP_HEADER_PARAMETERS = 64  # as for URIs; no header of a standard has more than a dozen
SIP_LIST_ELEMENTS = 256  # a comma list is the same as so many header lines
MULTIPART_DEPTH = 4  # SDP beside ISUP beside a PIDF inside "related" needs two
MULTIPART_PARTS = 32  # each part is a handler's work; nobody sends ten

# The memory that remembered URIs may take: entries times the line length above is the worst case, 4 MB.
SIP_URIS_REMEMBERED = 512

# SDP (requirement row 100): an offer of a phone has one or two media, a bundle of a browser about ten.
SDP_OCTETS = 32 * 1024
SDP_LINES = 1024
SDP_MEDIA = 32
SDP_FORMATS = 128  # 7-bit payload types: there are no more
SDP_ATTRIBUTES_PER_MEDIA = 256
CONTROL_LINE_OCTETS = 16 * 1024 * 1024  # one answer of the control socket, a status with all its events
