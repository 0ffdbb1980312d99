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

# The memory that remembered values may take: entries times the line length above is the worst case, 16 MB in all.
SIP_URIS_REMEMBERED = 512
SIP_ROUTES_REMEMBERED = 256  # addresses of nodes, which are few
SIP_ADDRESSES_REMEMBERED = 1024  # From and To of the calls that are being set up: three a call
SIP_VIAS_REMEMBERED = 64  # read again while one message is taken

# SDP (requirement row 100): an offer of a phone has one or two media, a bundle of a browser about ten.
SDP_OCTETS = 32 * 1024
SDP_LINES = 1024
SDP_MEDIA = 32
SDP_ADDRESSES_REMEMBERED = 256  # asked some ten times while one description is read and written; 2 MB at worst
SDP_FORMATS = 128  # 7-bit payload types: there are no more
SDP_ATTRIBUTES_PER_MEDIA = 256
CONTROL_LINE_OCTETS = 16 * 1024 * 1024  # one answer of the control socket, a status with all its events

# HSS (requirement row 110).
HSS_SUBSCRIPTIONS_CACHED = 50_000  # about 1.5 kB each; beyond that SQLite's own cache serves them in some 20 us
HSS_ALGORITHMS_CACHED = 1_000  # from a challenge to its resynchronisation; 1 kB each, and making one anew costs 10 us
HSS_VECTORS_PER_ANSWER = 16  # what vectors-per-request allows
HSS_UNANSWERED_VECTORS = 100_000  # of all users within a minute; a core's worth of honest phones answers in seconds
HSS_WRITES_WAITING = 20_000  # a second of full load behind a disk that hangs; more is answered UNABLE_TO_COMPLY
HSS_IDENTITIES_PER_SUBSCRIPTION = 256  # a profile beyond that no longer fits one SIP message
HSS_WILDCARDS = 1_000  # each unknown identity is matched with all of them
HSS_IDENTITY_OCTETS = 512  # far above any real IMPU; bounds the matching of wildcards

# The S-CSCF. Open challenges are the one table that strangers can fill: 100 000 are 100 MB at most, and a flood that
# pushes out a phone's challenge before its answer (about a second) must bring 100 000 a second.
IMPU_OCTETS = 255  # what a wildcard is matched against; no identity in use is longer than an NAI of 253
CHALLENGES_OPEN = 100_000
CHALLENGES_PER_MINUTE = 7  # unanswered ones of a private identity; at most HssConfig.max_pending_per_user
CHALLENGES_PER_USER = 8  # as many contacts of one private identity may be registering at once
VECTORS_STOCKED = 10_000  # private identities with fetched and unused vectors
FAILURES_REMEMBERED = 50_000  # (private identity, source) pairs with wrong responses
BACK_OFF_S = 900  # the longest that a source waits for a new challenge after wrong responses
SUBSCRIPTIONS_PER_SET = 16  # to one set's registration state: each phone, its P-CSCF, a few servers
REGINFO_REGISTRATIONS = 256  # identities in one reginfo document
REGINFO_CONTACTS = 64  # contacts of one identity, as many as SCscfConfig.max_contacts allows
XML_DEPTH = 32  # requirement row 111

EVENTS_KEPT = 20_000  # the last few minutes of a busy node, about 10 MB at worst
BACKGROUND_TASKS = 20_000  # NOTIFYs and clean-up after an outage of a full node, about 60 MB at worst

# Transports (requirement row 96). A node keeps one connection a phone on TCP; behind one address of a carrier's NAT
# there may be a few hundred phones. Peers that are trusted are not counted by source.
STREAM_CONNECTIONS = 16_384
STREAM_CONNECTIONS_PER_SOURCE = 512
STREAM_FIRST_MESSAGE_S = 30.0  # a peer that has sent no whole message by then is slow on purpose
STREAM_IDLE_S = 960.0  # RFC 5626 4.4.1 has clients ping every 840 s at most (95 to 120 s by default)
STREAM_WRITE_BUFFER_OCTETS = 1024 * 1024  # a peer that does not read: sixteen of the largest messages
TARGETS_PER_CONNECTION = 8  # next hops that one connection serves: a partner's ports, and the one it was opened to
CONNECTIONS_PER_PARTNER = 64  # one carries all calls (RFC 5923); a partner has a few border nodes, or dozens
PARTNER_SILENT_S = 20  # a partner's connection that says nothing for so long is asked whether it lives
PARTNER_UNHEARD_MS = 10_000  # and is given up when what was sent is not received: well within a transaction's 32 s
TLS_HANDSHAKES = 1_024  # begun and not finished: about 100 kB each
TLS_HANDSHAKES_PER_SOURCE = 128  # so that eight addresses are needed to keep others out, for STREAM_CONNECT_S
STREAM_CONNECT_S = 5.0  # RFC 3263 4.3 leaves it open: short enough to try another within a caller's patience
UDP_FLOWS_REMEMBERED = 65_536  # an object for each source address; the oldest is made again when needed
UDP_PATH_MTU_OCTETS = 1300  # RFC 3261 18.1.1, for an unknown path MTU

# Transactions. Each running exchange is a task of about 4 kB; 503 with Retry-After beyond.
EXCHANGES = 20_000
# Completed transactions keep the octets of a response for retransmissions; the oldest go first when there are more.
SERVER_TRANSACTIONS = 65_536
MERGED_REQUESTS = 65_536  # remembered keys of RFC 3261 8.2.2.2, about 200 octets each
RETRY_AFTER_S = (5, 15)  # spread, so that those who were turned away don't come back together (row 99)

# Next hops (RFC 3263).
CANDIDATES = 8  # tried for one request
DNS_CACHE_ENTRIES = 4_096
DNS_CACHE_S = (1.0, 3_600.0)  # a TTL below or above counts as this
DNS_NOTHING_S = (1.0, 300.0)  # the same for the answer that there is nothing (RFC 2308 5)
DNS_FAILED_S = 5.0  # no answer counts so long: a flood of calls does not become a flood of questions (RFC 2308 7)
DNS_QUERY_S = 5.0  # with all servers
DNS_SERVER_S = 2.0  # of one server, with repetitions
DNS_TRY_S = 0.8  # until a question is repeated, a connection given up
DNS_TRIES = 2  # by UDP, of one server
DNS_QUESTIONS = 512  # waiting for an answer at a time; each holds a socket
DNS_MISFITS = 16  # datagrams that answer a question wrongly, until it goes by TCP: a forger has so many guesses
DNS_UDP_OCTETS = 1232  # of an answer by UDP: never fragmented (RFC 9715)
ENUM_CHAIN = 5  # records that lead to other records, one after the other (RFC 6116 5.2.1, requirement row 113)
ENUM_LOOKUPS = 12  # for one number under one root
ENUM_RECORDS = 32  # of one name that are looked at
E164_DIGITS = 15
DNS_NOTICE_S = 60.0  # between two notices of forged answers
DNS_IDLE_S = 15.0  # a connection to a name server without questions
DNSSEC_QUESTIONS = 24  # for keys and delegations on the way from an anchor to one name
DNSSEC_SIGNATURES = 64  # checked for one answer, about 10 ms
DNSSEC_KEYS = 16  # of one zone
DNSSEC_KEYS_ALIKE = 4  # with the same tag, and signatures of one set: more is an attack (CVE-2023-50387)
DNSSEC_ZONES = 1_024  # whose keys are remembered
DNSSEC_ITERATIONS = 50  # of NSEC3 hashes (RFC 9276 3.2)
DNS_SERVER_PER_S = 100.0  # answers of `redoubt dns` by UDP to one network: a resolver of a lab asks less
DNS_SERVER_NETWORKS = 16_384  # whose questions it counts, about 3 MB
DNS_SERVER_CONNECTIONS = 256
DNS_SERVER_PER_SOURCE = 32
DNS_SERVER_IDLE_S = 20.0
DISCOVERED = 8  # P-CSCFs that a phone tries of those that DHCP or DNS names
REFUSED_TCP_S = 60.0  # how long a next hop that refuses TCP is sent large requests over UDP without asking again

# P-CSCF. A phone holds a call, one waiting and its subscriptions; a conference server some dozens.
DIALOGS_PER_PHONE = 64
DIALOG_LIFETIME_S = 12 * 3600  # without any request: longer than calls last, short enough that lost BYEs leave nothing
BINDINGS_PER_FLOW = 16  # a phone registers a few identities over one flow, a forger as many as it can
MAX_BREADTH = 60  # RFC 5393 5.3.3: the branches that one request may become
HSS_IMPORT_SUBSCRIBERS = 1_000_000  # an import is one transaction; that many take about a minute
HSS_IMPORT_LINE_OCTETS = 1024 * 1024  # a subscription with all identities and filter criteria is far below

HSS_STRANGERS = 20_000  # unknown private identities remembered, so that asking again costs what it costs a user; 4 MB

# Expressions of filter criteria and wildcards (requirement row 111). A text of 8 kB times so many positions is half a
# second at the very worst, with an expression made for it; usual ones take microseconds.
EXPRESSION_OCTETS = 1024
EXPRESSION_POSITIONS = 512
EXPRESSION_STEPS = 512  # remembered for each expression
XML_ELEMENTS = 20_000  # a profile of 256 identities with 100 filter criteria has half of that

# Diameter (requirement row 106). A profile is 256 kB at most (row 111), as is repository data of Sh.
DIAMETER_MESSAGE_OCTETS = 512 * 1024
DIAMETER_AVPS = 1024  # side by side in a message or a group; an SAR of a large implicit set has some 300
DIAMETER_DEPTH = 8  # groups in groups of a request; the deepest of Rx and Rf has five

# A user profile (requirement row 111). Its identities must fit one SIP response, its criteria are looked at in each
# call.
USER_DATA_OCTETS = 256 * 1024
USER_DATA_IDENTITIES = 256
USER_DATA_CRITERIA = 256
USER_DATA_TRIGGERS = 256  # conditions of one trigger point
SH_REPOSITORY_OCTETS = 64 * 1024  # of one service and identity; a document of services' settings has a few kB
SH_SERVICES_PER_SUBSCRIPTION = 256  # with repository data: 16 MB at most
SH_NOTIFICATIONS_PER_SUBSCRIPTION = 256
SH_SUBSCRIPTION_S = 30 * 24 * 3600  # the longest that an application server is told of changes unless for ever
SH_REFERENCES = 32  # data references, and service indications, of one request of an application server
RESTORATION_OCTETS = 64 * 1024  # kept for a registration: a contact with its path and two watchers has about 1 kB
RESTORATION_CONTACTS = 64  # of one private identity, as many as SCscfConfig.max_contacts allows

# Gm: ESP and its associations.
ESP_REPLAY_WINDOW = 256  # sequence numbers; a burst of a call set-up is reordered by some tens at worst
HSS_IMPORT_BATCH = 250  # subscribers in one transaction of an import: the store is locked for some 10 ms
IP_DATAGRAM_OCTETS = 65_535  # RFC 791
IDLE_PROTECTED_PORTS = 256  # of the kernel path: sockets and guards of ports that no set has any more
TUNNEL_MTU_OCTETS = 1280  # of inner packets: with ESP and outer headers 1370, which passes GTP and PPPoE links
TUN_MTU_OCTETS = 1400  # of packets with TCP in transport mode: ESP adds 66 octets at most, so 1500 is never exceeded
FRAGMENTS_PER_DATAGRAM = 64  # the largest datagram in pieces of the tunnel's MTU has 53
FRAGMENTED_DATAGRAMS = 4_096  # incomplete ones of all phones
FRAGMENTED_DATAGRAMS_PER_SOURCE = 4  # of one association set: a phone sends its messages one after the other
FRAGMENTS_OCTETS = 16 * 1024 * 1024  # of incomplete datagrams: beyond it the oldest go
LEDGER_SLOT_OCTETS = 2_048  # what a set leaves for a restart: a record of about 700 octets with two algorithms
REFUSING_SOURCES = 1_024  # addresses whose bad packets are counted one by one
ENDED_SPIS_REMEMBERED = 4_096  # so that a late packet is told from a stranger's
REASSEMBLY_S = 30.0  # RFC 8200 4.5 allows 60, RFC 1122 3.3.2 asks for as much; SIP retransmits long before
HSS_SERVERS = 1_024  # S-CSCFs remembered by name; an operator has some dozens
HSS_ATTEMPTS = 64  # at a change that other HSS processes forestall; with four at one user, one in 10^8 needs more

# The REST API for provisioning, whose users hold a token; strangers get as far as its header and no further.
HSS_REST_BODY_OCTETS = 1024 * 1024  # a thousand subscribers as JSON
HSS_REST_IMPORT_OCTETS = 32 * 1024 * 1024  # a file of 150 000 subscribers; more goes by `redoubt subscriber import`
HSS_REST_LISTED = 1_000  # subscribers in one body or one page
HSS_REST_CONNECTIONS = 64
HSS_REST_HEADER_OCTETS = 16 * 1024
HSS_REST_REQUEST_S = 10  # a peer that has sent no whole request header by then is slow on purpose
HSS_REST_FAILURES = 10  # requests without the token from one source in a minute; the rest get 429
HSS_REST_SOURCES = 4_096  # remembered sources of such requests
DIAMETER_REQUESTS_WAITING = 4096  # of one peer for its answers: more than a second of the fastest HSS
DIAMETER_REQUESTS_IN_WORK = 2048  # of one node, half a second of work, about 10 MB; beyond it 3004
DIAMETER_REQUESTS_OF_ONE_PEER = 1536  # in work, so that one that floods leaves room for the others
DIAMETER_DUPLICATES_WAITING = 8  # repetitions of one request that is being worked on: one for each way to this node
DIAMETER_ANSWERS_OCTETS = 16 * 1024 * 1024  # kept for duplicates: seconds of full load, minutes of the usual
DIAMETER_ANSWERS_KEPT_S = 240.0  # as long as End-to-End Identifiers are unique (RFC 6733 3)
DIAMETER_UNSENT_OCTETS = 16 * 1024 * 1024  # to a peer that is slow to read: all answers in work, with large profiles
DIAMETER_REDIRECTS_KEPT = 1024  # scopes: users or sessions, while agents say that they are remembered
DIAMETER_REDIRECTIONS = 3  # of one request
DIAMETER_OVERLOAD_REPORTS = 256  # hosts and realms that said they are overloaded
DIAMETER_CONNECTIONS = 1024  # of one node, peers and strangers
DIAMETER_CONNECTIONS_PER_SOURCE = 32
HSS_POSTGRES_CONNECTIONS = 8  # of one HSS process; PostgreSQL grants a hundred to all

# Gm: temporary sets whose phone has proved nothing. An honest one waits about a second; behind one address of a
# carrier's NAT a hundred phones may wait together after an outage of its link.
HALF_OPEN_SETS = 20_000
HALF_OPEN_SETS_PER_SOURCE = 128
LEDGER_SLOTS = 262_144  # association sets, bindings and dialogs that outlive a process: 512 MB when all are in use
ASSOCIATION_SETS_PER_IMPI = 3  # six associations a direction (TS 33.203 7.4)
HSS_RESTORATION_OCTETS = 64 * 1024  # of one private identity's contacts with their paths; a phone's take half a kB
TRACED_WAITING = 10_000  # messages for one `redoubt trace` that is slow to read, some 15 MB; further ones are counted

# Security gateways (Za).
VICI_MESSAGE_OCTETS = 512 * 1024  # the longest that strongSwan sends on its control socket
GATEWAY_ATTEMPTS_REMEMBERED = 1_024  # IKE attempts of strangers and partners, by charon's number, until said why not

# The border. A token outlives what it was made for: the longest registration (SCscfConfig.max_expires) is 6.9 days.
HIDING_TOKEN_S = 8 * 24 * 3600
B2BUA_DIALOGS = 20_000  # of one border node, about 2 kB each; as many calls as Media anchors
B2BUA_FORKS = 16  # dialogs of one INVITE or SUBSCRIBE; a user has up to ten phones, and they ring at once
B2BUA_INVITES = 8  # of one dialog, whose CSeq a late ACK or PRACK may name
BORDER_HOPS_INSIDE = 20  # of Max-Forwards, which a request of a partner must have left: the longest way inside is below
HIDING_KEYS = 64  # of one ring: a rotation every three hours of the time that tokens live

# Media. An audio call takes four ports towards each side; the range of [media] ports is what usually ends first.
MEDIA_SESSIONS = 20_000
MEDIA_STREAMS_PER_SESSION = 8  # audio, video, text, screen, and room: each is four sockets
MEDIA_STREAMS_AHEAD = 2  # opened when a call begins without an offer: audio and video
MEDIA_PACKET_OCTETS = 2_048  # above what any link carries whole; RTP is not sent in fragments
MEDIA_PACKETS_PER_S = 5_000  # of one leg: voice has 50, video in the highest quality some 2,000
MEDIA_PARTIES = 2  # a party, phone or partner, has one part in so many of the relay's ports: others have the rest
MEDIA_CALLS_PER_PHONE = 8  # at one time: one talks, one waits, a conference has a few
MEDIA_LATCH_S = 30.0  # after a description, for the first packet through a NAT: phones send one at once, or on answer
MEDIA_DIALOGS_PER_CALL = 16  # forks of one INVITE whose descriptions are followed
