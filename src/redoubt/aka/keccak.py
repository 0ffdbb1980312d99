"""The Keccak-f[1600] permutation (FIPS 202 clause 3), bare, as TUAK with more than one iteration needs it.

With one iteration, which is what operators use, `tuak` asks the C code behind SHAKE256 and never comes here.
"""

_LANE = (1 << 64) - 1
_ROUNDS = 24


def _round_constants() -> tuple[int, ...]:
    """FIPS 202 3.2.5: bit 2^j - 1 of round i's constant is output 7i + j of a linear feedback shift
    register.
    """
    constants = []
    register = 1
    for _ in range(_ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _moves() -> tuple[tuple[int, int, int], ...]:
    """Rho and pi together (FIPS 202 3.2.2, 3.2.3): (from lane, to lane, turn in bits), lanes counted x +
    5y.
    """
    moves = [(0, 0, 0)]
    x, y = 1, 0
    for t in range(24):
        new_x, new_y = y, (2 * x + 3 * y) % 5
        moves.append((x + 5 * y, new_x + 5 * new_y, (t + 1) * (t + 2) // 2 % 64))
        x, y = new_x, new_y
    return tuple(moves)


_CONSTANTS = _round_constants()
_MOVES = _moves()


def keccak_f1600(state: bytes) -> bytes:
    """Permute 200 octets: theta, rho and pi, chi, iota, 24 times."""
    if len(state) != 200:
        raise ValueError(f"a Keccak-f[1600] state has 200 octets, not {len(state)}")
    lanes = [int.from_bytes(state[i : i + 8], "little") for i in range(0, 200, 8)]
    for constant in _CONSTANTS:
        lanes = _round(lanes, constant)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes)


def _round(lanes: list[int], constant: int) -> list[int]:
    parity = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
    theta = [parity[x - 1] ^ _turn(parity[(x + 1) % 5], 1) for x in range(5)]
    moved = [0] * 25
    for source, target, bits in _MOVES:
        moved[target] = _turn(lanes[source] ^ theta[source % 5], bits)
    chi = [
        moved[row + x] ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
        for row in range(0, 25, 5)
        for x in range(5)
    ]
    chi[0] ^= constant
    return chi


def _turn(lane: int, bits: int) -> int:
    return ((lane << bits) | (lane >> (64 - bits))) & _LANE
