"""Access security on Gm: security agreement, ESP, security associations and the ways that packets take."""
