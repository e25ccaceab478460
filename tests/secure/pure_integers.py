"""The whole protocol a second time: plain Python integers, SHA-256, and nothing else.

It shares no line with fedrec.secure.  It is slow, not constant-time, and for
replaying test vectors only.  Written from RFC 7748, RFC 8032, RFC 5869, FIPS 197,
NIST SP 800-38A and 800-38D.
"""

import hashlib
import hmac

P = 2**255 - 19
LABEL = b"fedrec secure aggregation"
SERVER, EVERYBODY = 2**32 - 1, 2**32 - 2


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


# X25519


def x25519(secret: bytes, public: bytes) -> bytes:
    k = number(secret) & ~7 & (2**255 - 1) | 2**254
    x = number(public) & (2**255 - 1)
    (a, b), (c, d) = (1, 0), (x, 1)
    for bit in f"{k:0255b}":
        if bit == "1":
            (a, b), (c, d) = (c, d), (a, b)
        plus, minus = (a + b) ** 2 % P, (a - b) ** 2 % P
        left, right = (c + d) * (a - b) % P, (c - d) * (a + b) % P
        gap = plus - minus
        (a, b), (c, d) = (
            (plus * minus % P, gap * (plus + 121665 * gap) % P),
            ((left + right) ** 2 % P, x * (left - right) ** 2 % P),
        )
        if bit == "1":
            (a, b), (c, d) = (c, d), (a, b)
    return le(a * pow(b, P - 2, P) % P, 32)


BASE = le(9, 32)

# Ed25519, affine

D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def add_points(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    cross = D * p[0] * q[0] * p[1] * q[1]
    x = (p[0] * q[1] + p[1] * q[0]) * pow(1 + cross, -1, P)
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - cross, -1, P)
    return x % P, y % P


def times(k: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    for bit in f"{k:b}":
        result = add_points(result, result)
        if bit == "1":
            result = add_points(result, point)
    return result


def base_point() -> tuple[int, int]:
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x if x % 2 == 0 else P - x), y


B = base_point()


def encode_point(point: tuple[int, int]) -> bytes:
    return le(point[1] | (point[0] & 1) << 255, 32)


def sign(secret: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Public key and signature."""
    digest = hashlib.sha512(secret).digest()
    a = number(digest[:32]) & ~7 & (2**255 - 1) | 2**254
    public = encode_point(times(a, B))
    r = number(hashlib.sha512(digest[32:] + message).digest()) % ORDER
    commitment = encode_point(times(r, B))
    h = number(hashlib.sha512(commitment + public + message).digest()) % ORDER
    return public, commitment + le((r + h * a) % ORDER, 32)


# AES-256, CTR and GCM


def xtime(x: int) -> int:
    return x << 1 ^ (0x11B if x & 0x80 else 0)


def gmul(x: int, y: int) -> int:
    result = 0
    while y:
        result ^= x if y & 1 else 0
        x, y = xtime(x), y >> 1
    return result


def make_sbox() -> list[int]:
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if gmul(x, y) == 1), 0)
        rotated = [(inverse << i | inverse >> (8 - i)) & 255 for i in range(5)]
        box.append(0x63 ^ rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ rotated[4])
    return box


SBOX = make_sbox()
TWICE = [xtime(x) for x in range(256)]


def aes_keys(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    constant = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = bytes(SBOX[x] for x in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = xtime(constant)
        elif i % 8 == 4:
            word = bytes(SBOX[x] for x in word)
        words.append(bytes(x ^ y for x, y in zip(word, words[i - 8], strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes_block(keys: list[bytes], block: bytes) -> bytes:
    state = bytes(x ^ y for x, y in zip(block, keys[0], strict=True))
    for turn, key in enumerate(keys[1:], 1):
        shifted = [SBOX[state[(5 * i) % 16]] for i in range(16)]
        if turn < 14:
            mixed = []
            for c in range(0, 16, 4):
                column = shifted[c : c + 4]
                every = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [x ^ every ^ TWICE[x ^ column[(i + 1) % 4]] for i, x in enumerate(column)]
            shifted = mixed
        state = bytes(x ^ y for x, y in zip(shifted, key, strict=True))
    return state


def ctr(key: bytes, counter: int, size: int, wrap: int = 128) -> bytes:
    keys, out = aes_keys(key), b""
    top, low = counter >> wrap << wrap, counter & (2**wrap - 1)
    while len(out) < size:
        out += aes_block(keys, (top | low).to_bytes(16, "big"))
        low = (low + 1) % 2**wrap
    return out[:size]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def ghash(h: int, data: bytes) -> int:
    y = 0
    for at in range(0, len(data), 16):
        y ^= int.from_bytes(data[at : at + 16], "big")
        z, v = 0, h
        for bit in f"{y:0128b}":
            z ^= v if bit == "1" else 0
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def gcm(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    start = int.from_bytes(nonce + b"\0\0\0\1", "big")
    cipher = xor(plain, ctr(key, start + 1, len(plain), wrap=32))
    sizes = (8 * len(bound)).to_bytes(8, "big") + (8 * len(cipher)).to_bytes(8, "big")
    h = int.from_bytes(aes_block(aes_keys(key), bytes(16)), "big")
    tag = ghash(h, padded(bound) + padded(cipher) + sizes)
    return cipher + xor(tag.to_bytes(16, "big"), ctr(key, start, 16))


# The protocol

PRIME, BITS, LIMBS = 32771, 15, 18


def extract(secret: bytes) -> bytes:
    return hmac.new(bytes(32), secret, "sha256").digest()


def expand(key: bytes, info: bytes) -> bytes:
    return hmac.new(key, info + b"\1", "sha256").digest()


def info(
    purpose: bytes,
    session: bytes,
    turn: int,
    a: int,
    b: int,
    name: bytes = b"",
    length: int = 0,
    width: int = 0,
) -> bytes:
    head = LABEL + bytes([1, len(purpose)]) + purpose + session + le(turn, 8) + le(a, 4) + le(b, 4)
    return head + bytes([len(name)]) + name + le(length, 8) + bytes([width])


def header(kind: int, turn: int, session: bytes, sender: int, receiver: int, size: int) -> bytes:
    return (
        b"FSA1"
        + bytes([kind, 0, 0, 0])
        + le(turn, 8)
        + session
        + le(sender, 4)
        + le(receiver, 4)
        + le(size, 8)
    )


def to_limbs(secret: bytes) -> list[int]:
    return [number(secret) >> BITS * i & 2**BITS - 1 for i in range(LIMBS)]


def polynomial(parts: list[int], x: int) -> int:
    return sum(part * x**power for power, part in enumerate(parts)) % PRIME


def plan_bytes(case: dict, publics: list[bytes], coordinator: bytes, nonce: bytes) -> bytes:
    mode = {"semi-honest": 1, "malicious-server": 2}[case["mode"]]
    out = bytes([1]) + le(case["round"], 8) + bytes([mode]) + le(case["threshold"], 4)
    out += le(case["neighbours"], 4) + bytes([1]) + coordinator + nonce
    name = case["vector"]["name"].encode()
    out += bytes([len(name)]) + name + le(case["vector"]["length"], 8)
    bound = case["vector"]["bound"]  # none: sums may wrap around
    out += bytes([case["vector"]["width"], bound is None]) + le(bound or 0, 8)
    out += le(len(publics), 4)
    return out + b"".join(le(i, 4) + key for i, key in enumerate(publics))


def counted(entries: list[bytes]) -> bytes:
    return le(len(entries), 4) + b"".join(entries)


def bit_string(elements: list[int], width: int) -> bytes:
    """Element i in the bits from i * width on, lowest first, and zeros to the full byte."""
    size = (len(elements) * width + 7) // 8
    return le(sum(x << i * width for i, x in enumerate(elements)), size)


class Replay:
    """A session in which nobody sends a wrong message, from the bytes that were drawn."""

    def __init__(self, case: dict) -> None:
        self.case, self.turn, self.n = case, case["round"], len(case["draws"])
        draws = [[bytes.fromhex(x) for x in one] for one in case["draws"]]
        server = [bytes.fromhex(x) for x in case["server_draws"]]
        self.identity = [one[0] for one in draws]
        self.channel, self.mask = (
            [one[1] if len(one) > 1 else b"" for one in draws],
            [one[2] if len(one) > 2 else b"" for one in draws],
        )
        self.seed = [one[3] if len(one) > 3 else b"" for one in draws]
        self.random = [one[4] if len(one) > 4 else b"" for one in draws]
        self.server_secret, self.nonce = server
        publics = [sign(secret, b"")[0] for secret in self.identity]
        self.plan = sha256(
            b"fedrec secure plan"
            + plan_bytes(case, publics, x25519(self.server_secret, BASE), self.nonce)
        )
        self.lost = {int(i): stage for i, stage in case["drops"].items()}
        self.sent: list[tuple[str, int, int, bytes]] = []

    def present(self, stage: str) -> list[int]:
        order = ["advertise", "share", "mask", "consistency", "unmask"]
        return [
            i
            for i in range(self.n)
            if i not in self.lost or order.index(self.lost[i]) > order.index(stage)
        ]

    def signed(self, kind: int, session: bytes, sender: int, body: bytes) -> bytes:
        content = header(kind, self.turn, session, sender, SERVER, len(body)) + body
        return content + sign(self.identity[sender], content)[1]

    def key(self, secret: bytes, sender: int, receiver: int) -> bytes:
        return expand(extract(secret), info(b"channel", self.session, self.turn, sender, receiver))

    def tagged(self, kind: int, sender: int, receiver: int, body: bytes) -> bytes:
        client = receiver if sender == SERVER else sender
        secret = x25519(self.server_secret, self.channel_public[client])
        content = header(kind, self.turn, self.session, sender, receiver, len(body)) + body
        return content + gcm(self.key(secret, sender, receiver), le(kind, 12), b"", content)

    def mask_words(self, secret: bytes, a: int, b: int) -> list[int]:
        v = self.case["vector"]
        size = 4 if v["width"] <= 32 else 8
        bound = info(
            b"mask", self.session, self.turn, a, b, v["name"].encode(), v["length"], v["width"]
        )
        stream = ctr(expand(extract(secret), bound), 0, size * v["length"])
        return [number(stream[i : i + size]) for i in range(0, len(stream), size)]

    def run(self) -> list[int]:
        first = self.present("advertise")
        self.channel_public = {i: x25519(self.channel[i], BASE) for i in first}
        self.mask_public = {i: x25519(self.mask[i], BASE) for i in first}
        keys = {
            i: self.signed(1, self.plan, i, self.channel_public[i] + self.mask_public[i])
            for i in first
        }
        self.sent += [("advertise", i, SERVER, keys[i]) for i in first]
        listed = b"".join(
            le(68, 4) + le(i, 4) + self.channel_public[i] + self.mask_public[i] for i in first
        )
        self.session = sha256(b"fedrec session" + self.plan + le(len(first), 4) + listed)
        self.make_graph(first)
        self.share(first, keys)
        survivors = self.mask_inputs()
        return self.unmask(survivors)

    def make_graph(self, first: list[int]) -> None:
        ring = sorted(first, key=lambda i: sha256(b"fedrec ring" + self.session + le(i, 4)))
        half, n = self.case["neighbours"] // 2, len(ring)
        if self.case["neighbours"] >= n - 1:
            self.holders = {i: sorted(first) for i in first}
        else:
            self.holders = {
                i: sorted(ring[(at + s) % n] for s in range(-half, half + 1))
                for at, i in enumerate(ring)
            }

    def share(self, first: list[int], keys: dict[int, bytes]) -> None:
        body = counted([keys[i] for i in first])
        roster = header(2, self.turn, self.session, SERVER, EVERYBODY, len(body)) + body
        self.sharing = [i for i in self.present("share") if i in first]
        self.held: dict[tuple[int, int], list[list[int]]] = {}
        sealed: dict[tuple[int, int], bytes] = {}
        for i in first:
            self.sent.append(("share", SERVER, i, roster))
            if i not in self.sharing:
                continue
            words = [
                number(self.random[i][at : at + 4]) % PRIME
                for at in range(0, len(self.random[i]), 4)
            ]
            secrets, entries = to_limbs(self.seed[i]) + to_limbs(self.mask[i]), []
            for x, holder in enumerate(self.holders[i], 1):
                parts = [[s, *words[at :: 2 * LIMBS]] for at, s in enumerate(secrets)]
                share = [polynomial(part, x) for part in parts]
                self.held[i, holder] = [share[:LIMBS], share[LIMBS:]]
                if holder != i:
                    key = self.key(x25519(self.channel[i], self.channel_public[holder]), i, holder)
                    bound = header(3, self.turn, self.session, i, holder, 4 * LIMBS)
                    sealed[i, holder] = gcm(
                        key, bytes(12), b"".join(le(v, 2) for v in share), bound
                    )
                    entries.append(le(holder, 4) + sealed[i, holder])
            promise = sha256(info(b"commitment", self.session, 0, i, i) + self.seed[i])
            self.sent.append(
                ("share", i, SERVER, self.tagged(3, i, SERVER, promise + counted(entries)))
            )
        self.sealed = sealed

    def mask_inputs(self) -> list[int]:
        survivors, ring = (
            [i for i in self.sharing if i in self.present("mask")],
            2 ** self.case["vector"]["width"],
        )
        self.total = [0] * self.case["vector"]["length"]
        for i in self.sharing:
            peers = [j for j in self.holders[i] if j in self.sharing and j != i]
            body = counted([le(j, 4) + self.sealed[j, i] for j in peers])
            self.sent.append(("mask", SERVER, i, self.tagged(4, SERVER, i, body)))
            if i not in survivors:
                continue
            masked = [
                x + y
                for x, y in zip(
                    self.case["inputs"][i], self.mask_words(self.seed[i], i, i), strict=True
                )
            ]
            for j in peers:
                words = self.mask_words(
                    x25519(self.mask[i], self.mask_public[j]), min(i, j), max(i, j)
                )
                masked = [x + (y if j > i else -y) for x, y in zip(masked, words, strict=True)]
            masked = [x % ring for x in masked]
            self.total = [(x + y) % ring for x, y in zip(self.total, masked, strict=True)]
            body = bit_string(masked, self.case["vector"]["width"])
            self.sent.append(("mask", i, SERVER, self.tagged(5, i, SERVER, body)))
        return survivors

    def unmask(self, survivors: list[int]) -> list[int]:
        asked, confirmed = survivors, {}
        if self.case["mode"] == "malicious-server":
            body = counted([le(i, 4) for i in survivors])
            asked = [i for i in survivors if i in self.present("consistency")]
            for i in survivors:
                self.sent.append(("consistency", SERVER, i, self.tagged(6, SERVER, i, body)))
                if i in asked:
                    confirmed[i] = self.signed(7, self.session, i, sha256(body))
                    self.sent.append(("consistency", i, SERVER, confirmed[i]))
        shares: dict[int, list[tuple[int, list[int]]]] = {}
        for i in asked:
            alive = counted([le(j, 4) for j in self.holders[i] if j in survivors])
            proofs = counted([confirmed[j] for j in self.holders[i] if j in confirmed])
            self.sent.append(("unmask", SERVER, i, self.tagged(8, SERVER, i, alive + proofs)))
            if i not in self.present("unmask"):
                continue
            entries = []
            for j in [j for j in self.holders[i] if j in self.sharing]:
                which = 0 if j in survivors else 1
                share = self.held[j, i][which]
                entries.append(le(j, 4) + bytes([which]) + b"".join(le(v, 2) for v in share))
                shares.setdefault(j, []).append((self.holders[j].index(i) + 1, share))
            self.sent.append(("unmask", i, SERVER, self.tagged(9, i, SERVER, counted(entries))))
        for j in self.sharing:
            self.remove(j, survivors, shares.get(j, []))
        return self.total

    def remove(self, j: int, survivors: list[int], shares: list[tuple[int, list[int]]]) -> None:
        ring, chosen = 2 ** self.case["vector"]["width"], shares[: self.case["threshold"]]
        secret = 0
        for limb in range(LIMBS):
            value = 0
            for x, share in chosen:
                weight = 1
                for other, _ in chosen:
                    if other != x:
                        weight = weight * other * pow(other - x, -1, PRIME) % PRIME
                value += weight * share[limb]
            secret += value % PRIME << BITS * limb
        raw = le(secret, 32)

        def change(words: list[int], way: int) -> list[int]:
            return [(x + way * y) % ring for x, y in zip(self.total, words, strict=True)]

        if j in survivors:
            self.total = change(self.mask_words(raw, j, j), -1)
            return
        for i in self.holders[j]:
            if i in survivors and i != j:
                words = self.mask_words(x25519(raw, self.mask_public[i]), min(i, j), max(i, j))
                self.total = change(words, -1 if j > i else 1)
