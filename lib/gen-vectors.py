#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Write the test vectors of the KUnit suites, net/quic/tests/vectors.h.

The packets are sealed here step by step after RFC 9001 sections 5.3 and 5.4,
with the ciphers of OpenSSL's libcrypto in Debian's package
python3-cryptography. No kernel code takes part. Keys, IVs and packet numbers
are derived from the names of the vectors with SHA-256, so that every run
writes the same file.

Before anything is written, this program must reproduce the examples of RFC
9001: A.2 and A.3 (AES-128 header protection masks), A.5 (ChaCha20-Poly1305
short header packet). The file has them, too, as the RFC prints them.

The file has data only: two arrays, of struct quic_mask_vec and of struct
quic_seal_vec. What includes it defines these structs. The file leaves out
plaintext: byte i of the payload of packet number pn is the low byte of
pn + 3 * i + (i >> 8), byte i of a connection ID is 0xc0 + i.
"""

import argparse
import hashlib
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import (
    AESCCM, AESGCM, ChaCha20Poly1305)

MAX_PN = (1 << 62) - 1
TAG_SIZE = 16
SAMPLE_SIZE = 16

# name: (kernel name, bytes of key)
CIPHERS = {
    "aes-128-gcm": ("TLS_CIPHER_AES_GCM_128", 16),
    "aes-256-gcm": ("TLS_CIPHER_AES_GCM_256", 32),
    "aes-128-ccm": ("TLS_CIPHER_AES_CCM_128", 16),
    "chacha20-poly1305": ("TLS_CIPHER_CHACHA20_POLY1305", 32),
}

# Payload sizes of the single packets; None: as short as the sample allows
PAYLOADS = [None, None, None, None, 15, 16, 17, 33, 64, 127, 300, 1400]

HEAD = """\
/* SPDX-License-Identifier: GPL-2.0 */
/* Test vectors: made with OpenSSL's libcrypto by gen-vectors.py, do not edit */
"""


def derive(label, size):
    """size bytes that look random and are always the same."""
    return hashlib.sha256(label.encode()).digest()[:size]


def aead(name, key):
    if name == "chacha20-poly1305":
        return ChaCha20Poly1305(key)
    if name == "aes-128-ccm":
        return AESCCM(key, tag_length=TAG_SIZE)
    return AESGCM(key)


def mask(name, hp, sample):
    """RFC 9001 5.4.3 and 5.4.4."""
    if name == "chacha20-poly1305":
        # The sample is the block counter and the nonce, as libcrypto wants
        cipher = Cipher(algorithms.ChaCha20(hp, sample), mode=None)
        return cipher.encryptor().update(bytes(5))
    cipher = Cipher(algorithms.AES(hp), modes.ECB())
    return cipher.encryptor().update(sample)[:5]


def seal(name, key, iv, hp, first, cid, pn, pn_len, payload, path_id=0):
    """One short header packet: RFC 9001 5.3 and 5.4.1.

    path_id: of the multipath extension, in front of the 64 bits of pn
    """
    header = bytes([first | (pn_len - 1)]) + cid
    pn_off = len(header)
    header += (pn & ((1 << (8 * pn_len)) - 1)).to_bytes(pn_len, "big")

    number = path_id << 64 | pn
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(len(iv), "big")
    packet = bytearray(header + aead(name, key).encrypt(nonce, payload, header))

    sample = bytes(packet[pn_off + 4:pn_off + 4 + SAMPLE_SIZE])
    assert len(sample) == SAMPLE_SIZE
    m = mask(name, hp, sample)
    packet[0] ^= m[0] & 0x1f
    for i in range(pn_len):
        packet[pn_off + i] ^= m[1 + i]
    return bytes(packet)


def plaintext(pn, size):
    return bytes((pn + 3 * i + (i >> 8)) & 0xff for i in range(size))


def connection_id(size):
    return bytes(0xc0 + i for i in range(size))


RFC_MASKS = [
    # A.2, A.3: Initial packets of client and server
    ("RFC 9001 A.2", "aes-128-gcm", "9f50449e04a0e810283a1e9933adedd2",
     "d1b1c98dd7689fb8ec11d242b123dc9b", "437b9aec36"),
    ("RFC 9001 A.3", "aes-128-gcm", "c206b8d9b9f0f37644430b490eeaa314",
     "2cd0991cd25b0aac406a5816b6394100", "2ec0d8356a"),
    ("RFC 9001 A.5", "chacha20-poly1305",
     "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
     "5e5cd55c41f69080575d7999c25a5bfb", "aefefe7d03"),
]

A5_KEY = "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8"
A5_IV = "e0459b3474bdd0e44a41c144"
A5_HP = "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4"
A5_PN = 654360564
A5_PAYLOAD = b"\x01"
A5_WIRE = "4cfe4189655e5cd55c41f69080575d7999c25a5bfb"


def self_test():
    for _, name, hp, sample, want in RFC_MASKS:
        got = mask(name, bytes.fromhex(hp), bytes.fromhex(sample))
        assert got.hex() == want, (name, got.hex())
    got = seal("chacha20-poly1305", bytes.fromhex(A5_KEY),
               bytes.fromhex(A5_IV), bytes.fromhex(A5_HP),
               0x40, b"", A5_PN, 3, A5_PAYLOAD)
    assert got.hex() == A5_WIRE, got.hex()


def c_bytes(data):
    """A C string literal, 16 bytes a line: that is all 80 columns hold."""
    pad = "\n\t"
    return "".join(
        pad + '"' + "".join(f"\\x{b:02x}" for b in data[i:i + 16]) + '"'
        for i in range(0, len(data), 16))


def mask_vectors():
    for desc, name, hp, sample, want in RFC_MASKS:
        yield (desc, name, bytes.fromhex(hp), bytes.fromhex(sample),
               bytes.fromhex(want))
    for name, (_, key_size) in CIPHERS.items():
        for i in range(4):
            desc = f"{name} mask {i}"
            hp = derive(desc + " hp", key_size)
            sample = derive(desc + " sample", SAMPLE_SIZE)
            yield desc, name, hp, sample, mask(name, hp, sample)


def seal_vector(desc, name, first, cid_len, pn_len, sizes, pn, gap,
                path_id=0):
    """sizes: of header and payload of each packet."""
    key_size = CIPHERS[name][1]
    key = derive(desc + " key", key_size)
    iv = derive(desc + " iv", 12)
    hp = derive(desc + " hp", key_size)
    cid = connection_id(cid_len)

    wire = b""
    for i, size in enumerate(sizes):
        n = pn_len if pn_len else 1 + i % 4
        this = pn + i * gap
        assert this <= MAX_PN
        payload = plaintext(this, size - 1 - cid_len - n)
        wire += seal(name, key, iv, hp, first, cid, this, n, payload, path_id)

    return {"desc": desc, "name": name, "first": first, "cid_len": cid_len,
            "pn_len": pn_len, "npkts": len(sizes), "size": sizes[0],
            "last": sizes[-1], "pn": pn, "gap": gap, "path_id": path_id,
            "key": key, "iv": iv, "hp": hp, "wire": wire}


def seal_vectors():
    yield {"desc": "RFC 9001 A.5", "name": "chacha20-poly1305", "first": 0x40,
           "cid_len": 0, "pn_len": 3, "npkts": 1, "size": 5, "last": 5,
           "pn": A5_PN, "gap": 1, "key": bytes.fromhex(A5_KEY),
           "iv": bytes.fromhex(A5_IV), "hp": bytes.fromhex(A5_HP),
           "payload": A5_PAYLOAD, "wire": bytes.fromhex(A5_WIRE)}

    for name in CIPHERS:
        for i, payload in enumerate(PAYLOADS):
            cid_len = (0, 5, 20)[i % 3]
            pn_len = 1 + i // 3
            if payload is None:
                payload = 4 - pn_len
            desc = (f"{name} cid {cid_len} pn {pn_len} "
                    f"payload {payload}")
            # Spin, reserved and Key Phase bits of all kinds
            bits = derive(desc + " bits", 1)[0] & 0x3c
            first = bits if i == 7 else 0x40 | bits
            pn = int.from_bytes(derive(desc + " pn", 8), "big") & MAX_PN
            pn = {0: 0, 1: MAX_PN, 2: 255}.get(i, pn)
            yield seal_vector(desc, name, first, cid_len, pn_len,
                              [1 + cid_len + pn_len + payload], pn, 1)

        # Payload of no byte at all
        yield seal_vector(f"{name} cid 8 pn 4 payload 0", name, 0x40, 8, 4,
                          [13], 1, 1)
        yield seal_vector(f"{name} batch of 5", name, 0x44, 8, 2,
                          [61, 61, 61, 61, 23], 65533, 1)
        yield seal_vector(f"{name} batch of 9, gaps", name, 0x40, 0, 0,
                          [48] * 8 + [7], 0xfffffffa, 3)
        # The packet numbers of each path start at 0
        for path_id in (1, 0xfedcba98):
            yield seal_vector(f"{name} path {path_id}", name, 0x40, 8, 2,
                              [61, 61, 40], 0, 1, path_id)


def output():
    out = [HEAD]

    out.append("\nstatic const struct quic_mask_vec quic_mask_vecs[] __maybe_unused = {\n")
    for desc, name, hp, sample, want in mask_vectors():
        out.append(f'\t{{\n\t\t.desc = "{desc}",\n'
                   f"\t\t.cipher = {CIPHERS[name][0]},\n"
                   f"\t\t.hp ={c_bytes(hp)},\n"
                   f"\t\t.sample ={c_bytes(sample)},\n"
                   f"\t\t.mask ={c_bytes(want)},\n\t}},\n")
    out.append("};\n")

    out.append("\nstatic const struct quic_seal_vec quic_seal_vecs[] = {\n")
    for v in seal_vectors():
        out.append(f'\t{{\n\t\t.desc = "{v["desc"]}",\n'
                   f"\t\t.cipher = {CIPHERS[v['name']][0]},\n"
                   f"\t\t.first = 0x{v['first']:02x},\n")
        for field in ("cid_len", "pn_len", "npkts", "size", "last"):
            out.append(f"\t\t.{field} = {v[field]},\n")
        out.append(f"\t\t.pn = 0x{v['pn']:x}ULL,\n"
                   f"\t\t.gap = {v['gap']},\n")
        if v.get("path_id"):
            out.append(f"\t\t.path_id = 0x{v['path_id']:x},\n")
        for field in ("key", "iv", "hp", "payload", "wire"):
            if field in v:
                out.append(f"\t\t.{field} ={c_bytes(v[field])},\n")
        out.append("\t},\n")
    out.append("};\n")

    return "".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="write FILE")
    what.add_argument("--check", metavar="FILE",
                      help="fail unless FILE is what --out would write")
    args = parser.parse_args()

    self_test()
    text = output()
    if args.out:
        with open(args.out, "w", encoding="ascii") as f:
            f.write(text)
        return
    with open(args.check, encoding="ascii") as f:
        if f.read() != text:
            sys.exit(f"{args.check}: not what this program writes")


if __name__ == "__main__":
    main()
