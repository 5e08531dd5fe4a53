# SPDX-License-Identifier: GPL-2.0

"""
Traffic of QUIC packets through a device that seals or opens them, for quic*.py.
"""

import array
import errno
import fcntl
import json
import os
import random
import socket
import struct
import time
from pathlib import Path

from lib.py import ksft_pr, ksft_eq, ksft_gt, KsftFailEx, KsftSkipEx
from lib.py import NetdevSimDev
from lib.py import CmdExitFailure, bkg, cmd, defer, ethtool, ip, tc

NET = Path(__file__).resolve().parents[4] / "net"
KSFT_SKIP = 4

SLOW = bool(os.environ.get("KSFT_MACHINE_SLOW"))
# What is waited for takes longer on slow machines
TIME_SCALE = 6 if SLOW else 1

CIPHERS = ["aes-128-gcm", "aes-256-gcm", "aes-128-ccm", "chacha20-poly1305"]
if SLOW:
    CIPHERS = ["aes-256-gcm", "chacha20-poly1305"]

# <linux/udp.h>, <linux/quic.h>, <linux/tls.h>, <asm-generic/socket.h>
SOL_UDP = 17
UDP_ULP, ADD_TX, DEL_TX, ENCRYPT, ADD_RX, DEL_RX = range(105, 111)
INFO_OPT, RX_DROP = 112, 113
CONN_GENERATION, CONN_ALIAS = 1, 4
TX_TAG_ROOM, TX_FLOW_ID = 2, 4
AES_GCM_128 = 51
SO_COOKIE = 57

# Keys of flows
KEY, IV, HP = b"secret key of 16", b"iv for 12 by", b"header key of 16"

# The test network of extra devices
EXTRA_V4 = "203.0.113.1"
EXTRA_REMOTE_V4 = "203.0.113.2"
EXTRA_V6 = "2001:db8:9::1"
EXTRA_REMOTE_V6 = "2001:db8:9::2"


def rounds(count):
    """ How often to repeat something: less on slow machines """
    return range((count + 3) // 4 if SLOW else count)


def snmp(proto):
    """ The counters of a protocol in /proc/net/snmp, read at once """
    lines = Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()
    rows = [line.split()[1:] for line in lines if line.startswith(proto + ":")]
    return dict(zip(rows[0], map(int, rows[1])))


def snmp6():
    """ Those of /proc/net/snmp6 """
    lines = Path("/proc/net/snmp6").read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in map(str.split, lines)}


def write_file(path, value):
    """
    Write to a file of /proc or /sys, restore the value after the test; returns
    what restores it earlier
    """
    path = Path(path)
    old = path.read_text(encoding="ascii")
    path.write_text(str(value), encoding="ascii")
    return defer(path.write_text, old, encoding="ascii")


def sysctl(name, value, ns=None):
    """ Set a sysctl; in our namespace, restore it after the test """
    if ns:
        cmd(f"sysctl -qw {name}={value}", ns=ns)
    else:
        write_file("/proc/sys/" + name.replace(".", "/"), value)


def or_skip(func, *args, **kwargs):
    """ Do what not every kernel can, or skip the test """
    try:
        return func(*args, **kwargs)
    except (CmdExitFailure, FileNotFoundError) as exc:
        raise KsftSkipEx(f"cannot do: {args[0]}") from exc


def _tracefs():
    mounts = Path("/proc/mounts").read_text(encoding="ascii")
    for mount in mounts.splitlines():
        _, where, kind = mount.split()[:3]
        if kind == "tracefs":
            return Path(where)
    or_skip(cmd, "mount -t tracefs none /sys/kernel/tracing")
    defer(cmd, "umount /sys/kernel/tracing")
    return Path("/sys/kernel/tracing")


def trace_events(events="quic"):
    """ Trace events from now on; returns the file of the trace """
    tracefs = _tracefs()
    if not (tracefs / "events" / events).exists():
        raise KsftSkipEx(f"no events {events}")
    (tracefs / "trace").write_text("", encoding="ascii")
    write_file(tracefs / "events" / events / "enable", 1)
    return tracefs / "trace"


def _function(name):
    """ Addresses of a function of the kernel and of what follows it """
    text = Path("/proc/kallsyms").read_text(encoding="ascii")
    symbols = [line.split()[:3] for line in text.splitlines()]
    start = [int(addr, 16) for addr, _, symbol in symbols if symbol == name]
    if len(start) != 1 or not start[0]:
        raise KsftSkipEx(f"no address of {name}()")
    addrs = (int(symbol[0], 16) for symbol in symbols)
    return start[0], min(addr for addr in addrs if addr > start[0])


def fail_slab(name):
    """
    From now on, there is no memory for a function of the kernel and what it
    calls; returns what ends that
    """
    failslab = Path("/sys/kernel/debug/failslab")
    if not (failslab / "require-start").exists():
        raise KsftSkipEx("no fault injection that knows functions")
    start, end = _function(name)
    for knob, value in (("ignore-gfp-wait", "N"), ("cache-filter", "N"),
                        ("task-filter", "N"), ("verbose", 0), ("times", -1),
                        ("require-start", hex(start)),
                        ("require-end", hex(end))):
        write_file(failslab / knob, value)
    return write_file(failslab / "probability", 100)


def wait_until(cond, seconds, comment):
    """ Wait until @cond() holds, or fail with @comment """
    deadline = time.monotonic() + seconds * TIME_SCALE
    while not cond():
        if time.monotonic() > deadline:
            raise KsftFailEx(f"waited in vain: {comment}")
        time.sleep(0.02)


#
# Traffic
#

class Traffic:
    """
    A run of quic_dev, and how much the counters have grown meanwhile.

    traffic["lost"] is what quic_dev has counted. traffic["QuicTxSwPackets"]
    and traffic["tx_quic_ctx"] are differences of what the kernel and the
    device have counted.
    """

    def __init__(self, link, before, options):
        self.link = link
        self._before = before
        self._after = {}
        self._result = {}
        self._options = options
        self._proc = bkg([str(arg) for arg in self._command()], shell=False)
        # In case that the test does not come to its end
        self._kill = defer(self._proc.proc.kill)

    @property
    def pid(self):
        """ The process """
        return self._proc.proc.pid

    def __str__(self):
        return " ".join(f"{k}={v}" for k, v in self._options.items())

    def _command(self):
        options = {**self.link.ends(), "wait_ms": 3000 * TIME_SCALE}
        options.update(self._options)
        # Nothing in the namespace at the other end may be unsealed, unless that
        # is where a device seals
        if "kernel_seals" not in options:
            capture = [self.link.remote_ns + ":"] + options.pop("capture", [])
            options["capture"] = capture

        command = [NET / self.link.PROGRAM]
        for name, value in options.items():
            if value is False:
                continue
            option = "--" + name.replace("_", "-")
            for one in value if isinstance(value, list) else [value]:
                command += [option] if one is True else [option, one]
        return command

    def finish(self, terminate=False, counters=True):
        """ Wait for the end of it; @terminate: which would not come alone """
        self._kill.cancel()
        self._proc.process(terminate=terminate, fail=False,
                           timeout=300 * TIME_SCALE)
        if self._proc.ret == KSFT_SKIP:
            raise KsftSkipEx(self._proc.stdout.strip())
        if not self._proc.stdout:
            raise KsftFailEx(self.link.PROGRAM + ": " +
                             self._proc.stderr.strip())
        self._result = json.loads(self._proc.stdout)
        if counters:
            self._after = self.link.counters()
        return self

    def before(self, name):
        """ A counter, when this was started """
        return self._before[name]

    def counts(self, name):
        """ Is there such a counter? Devices need not have all of them """
        return name in self._result or name in self._before

    @property
    def first(self):
        """
        Packets of the first calls with keys that the device has accepted:
        software seals or opens while the device is asked.
        """
        segments = self._options.get("segments", 1)
        if "mix" in self._options:
            return segments
        return self[self.link.KEYS] * segments

    def __getitem__(self, name):
        if not self.counts(name):
            raise KsftFailEx(f"there is no counter {name}")
        if name in self._result:
            return self._result[name]
        return self._after[name] - self._before[name]


class Load(Traffic):
    """ Traffic in the background, until the end of the block """

    def __enter__(self):
        seen = sum(self._before.get(name, 0) for name in self.link.FRAMES)
        wait_until(lambda: self.link.frames() >= seen + 20, 20,
                   f"no load ({self})")
        return self

    def __exit__(self, exc_type, exc_value, exc_tb):
        if exc_type is None:
            self.finish(terminate=True)

    def proceed(self, frames=30):
        """ Let it go on for a while """
        seen = self.link.frames()
        wait_until(lambda: self.link.frames() >= seen + frames, 20,
                   f"the load has stopped ({self})")

    def proceed_anyhow(self, calls=20):
        """ The same where calls may fail as there is no route """
        seen = self.link.calls()
        wait_until(lambda: self.link.calls() >= seen + calls, 20,
                   f"the load has stopped ({self})")

    def until_misdelivered(self):
        """ Until something that the device has opened was dropped, and on """
        name = "QuicRxDeviceMisdelivered"
        wait_until(lambda: self.link.kernel_counters()[name] >
                   self.before(name), 10, f"nothing was dropped ({self})")
        time.sleep(0.3 * TIME_SCALE)

    def _until_grown(self, name, comment):
        seen = self.link.kernel_counters()[name]
        wait_until(lambda: self.link.kernel_counters()[name] > seen, 10,
                   comment)

    def until_device(self, when=""):
        """ Let it go on until the device seals, or opens """
        self._until_grown(self.link.DEVICE_PACKETS,
                          f"the device does nothing {when} ({self})")

    def until_software(self, when=""):
        """ Let it go on until software seals, or opens """
        self._until_grown(self.link.SW_PACKETS,
                          f"software does nothing {when} ({self})")


class Shake:
    """
    What happens to devices, in an order by chance, under a load.

    QUIC_FUZZ_SEED=n repeats an order, QUIC_FUZZ_COUNT=n makes it longer.
    """
    COUNT = 40
    # Knobs of netdevsim with what they may be set to
    KNOBS = {
        "refuse_add": [0, 0, errno.EIO, errno.EBUSY, errno.ENOMEM,
                       errno.ENOSPC],
        "delay_ack": [0, 0, 1, 20],
        "detach": [0, 0, 1],
    }

    def __init__(self, link, knobs=None, disruptive=True):
        self._link = link
        self._knobs = self.KNOBS | (knobs or {})
        seed = int(os.environ.get("QUIC_FUZZ_SEED", time.time_ns() % 10 ** 9))
        ksft_pr(f"QUIC_FUZZ_SEED={seed}")
        self._random = random.Random(seed)
        self._events = [self._toggle, self._lose_keys, self._reset]
        self._events += [self._set_knob] * 4
        if disruptive:
            self._events.append(self._down_up)
        # The last of these first: no device that is detached has features
        defer(link.offload_on)
        for name in self._knobs:
            defer(link.knob, name, 0)

    def _toggle(self):
        self._link.knob("detach", 0)
        self._link.offload(self._random.choice(["on", "off"]))

    def _down_up(self):
        self._link.knob("detach", 0)
        self._link.down()
        self._link.up()

    def _lose_keys(self):
        self._link.knob("lose_keys", 1)

    def _reset(self):
        self._link.knob("reset", 1)

    def _set_knob(self):
        name = self._random.choice(sorted(self._knobs))
        self._link.knob(name, self._random.choice(self._knobs[name]))

    def run(self, load):
        """ Let things happen; then the device has to do its work again """
        count = int(os.environ.get("QUIC_FUZZ_COUNT", self.COUNT))
        for _ in range(count):
            self._random.choice(self._events)()
            time.sleep(self._random.choice([0, 0, 0.001, 0.02]) * TIME_SCALE)
        for name in self._knobs:
            self._link.knob(name, 0)
        self._link.offload("off")
        self._link.offload("on")
        load.until_device("when nothing happens any more")


#
# Devices
#

def _ethtool_stats(ifname):
    """
    What ethtool -S shows. Nearly every test needs that several times: to start
    a program each time is what takes longest on slow machines.
    """
    siocethtool = 0x8946
    get_strings, get_stats, get_set_info = 0x1b, 0x1d, 0x37
    set_stats = 1

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        def call(head, size):
            buf = array.array("B", head + bytes(size))
            fcntl.ioctl(sock, siocethtool,
                        struct.pack("16sP", ifname.encode(),
                                    buf.buffer_info()[0]))
            return buf.tobytes()[len(head):]

        count, = struct.unpack("I", call(
            struct.pack("IIQ", get_set_info, 0, 1 << set_stats), 4))
        names = call(struct.pack("III", get_strings, set_stats, count),
                     count * 32)
        values = call(struct.pack("II", get_stats, count), count * 8)
    names = [name.rstrip(b"\0").decode()
             for name, in struct.iter_unpack("32s", names)]
    return dict(zip(names, struct.unpack(f"{count}Q", values)))


def _keys_left(counters):
    """ The counters that tell of keys in devices, if there are any """
    left = {name: counters.get(name, 0) for name in
            ("QuicCurrTxDevice", "tx_quic_ctx", "tx_quic_del",
             "QuicCurrRxDevice", "rx_quic_ctx", "rx_quic_del")}
    if not left["QuicCurrTxDevice"] and not left["QuicCurrRxDevice"] and \
       left["tx_quic_ctx"] == left["tx_quic_del"] and \
       left["rx_quic_ctx"] == left["rx_quic_del"]:
        return {}
    return left


class Link:
    """
    A device that seals, and the other end of its wire. See RxLink for one that
    opens.

    Attributes:
      ifname, remote_ifname: the two devices
      ns, remote_ns: their namespaces, None is ours
      remote_addr: where traffic goes
      addr: our address
      nsim: the NetdevSimDev under @ifname, if it is one
      devices: the NetdevSimDev of both ends, of an extra link
    """
    PROGRAM = "quic_dev"
    FEATURE = "quic-hw-tx-offload"
    FRAMES = ("QuicTxSwPackets", "QuicTxDevicePackets", "QuicTxSwError")
    SW_PACKETS = "QuicTxSwPackets"
    DEVICE_PACKETS = "QuicTxDevicePackets"
    KEYS = "QuicTxDevice"
    KEYS_NOW = "QuicCurrTxDevice"

    def __init__(self, ifname, remote_ifname, remote_ns, remote_addr,
                 nsim=None, ns=None):
        self.ifname = ifname
        self.remote_ifname = remote_ifname
        self.ns = ns
        self.remote_ns = remote_ns
        self.remote_addr = remote_addr
        self.addr = None
        self.nsim = nsim
        self.devices = None

    def ends(self):
        """ Options that say from where to where traffic goes """
        options = {"to_netns": self.remote_ns, "address": self.remote_addr}
        if self.ns:
            options["from_netns"] = self.ns
        return options

    def kernel_counters(self):
        """ /proc/net/quic_stat """
        if self.ns:
            text = cmd("cat /proc/net/quic_stat", ns=self.ns).stdout
        else:
            text = Path("/proc/net/quic_stat").read_text(encoding="ascii")
        return {k: int(v) for k, v in map(str.split, text.splitlines())}

    def counters(self):
        """ Those of the kernel, and tx_quic_* of the device """
        counters = self.kernel_counters()
        try:
            counters.update(_ethtool_stats(self.ifname))
        except OSError:
            pass    # the device is gone, or in another namespace
        return counters

    def frames(self):
        """ Packets that sendmsg() has handled, whatever became of them """
        counters = self.kernel_counters()
        return sum(counters[name] for name in self.FRAMES)

    def calls(self):
        """ The same, and calls that have found no route """
        return self.frames() + snmp("Ip")["OutNoRoutes"] + \
            snmp6()["Ip6OutNoRoutes"]

    def counters_without_keys(self):
        """ Counters, when no keys are left in the device or it is too late """
        deadline = time.monotonic() + 10 * TIME_SCALE
        while True:
            counters = self.counters()
            if not _keys_left(counters) or time.monotonic() > deadline:
                return counters
            time.sleep(0.02)

    def has_no_keys(self):
        """ No device of this namespace has keys """
        return not self.kernel_counters()[self.KEYS_NOW]

    def check_no_keys_left(self):
        """ When sockets and packets are gone, so are keys """
        ksft_eq(_keys_left(self.counters_without_keys()), {}, "keys left")

    def start(self, **options):
        """ Start quic_dev and leave it running """
        return Traffic(self, self.counters(), options)

    def run(self, **options):
        """
        Send and receive. Once software has sealed, or opened, the first call
        with a key, wait for the answer of the device, unless settle_ms=0.
        """
        options = {"settle_ms": 2000 * TIME_SCALE, **options}
        # Keys that others have left may keep a first call from the device
        return Traffic(self, self.counters_without_keys(), options).finish()

    def load(self, **options):
        """ Send in the background: for a with statement """
        options = {"forever": True, "interval_us": 500, **options}
        return Load(self, self.counters(), options)

    def ip(self, args):
        """ ip at our end """
        return ip(args, ns=self.ns)

    def remote_ip(self, args):
        """ ip at the other end """
        return ip(args, ns=self.remote_ns)

    def add_remote_addr(self, addr, ifname=None):
        """ Another address at the other end """
        ifname = ifname or self.remote_ifname
        self.remote_ip(f"addr add {addr} dev {ifname}")
        defer(self.remote_ip, f"addr del {addr} dev {ifname}")

    def remote_mac(self):
        """ MAC address of the other end """
        return ip("link show dev " + self.remote_ifname, json=True,
                  ns=self.remote_ns)[0]["address"]

    def down(self):
        """ Set the device down """
        self.ip(f"link set dev {self.ifname} down")

    def up(self):
        """ Set the device up """
        self.ip(f"link set dev {self.ifname} up")

    def knob(self, name, value):
        """ Let netdevsim do what devices do rarely """
        self.nsim.nsims[0].dfs_write("quic/" + name, str(value))

    def read_knob(self, name):
        """ What netdevsim says in debugfs """
        nsim = self.nsim.nsims[0]
        path = Path(nsim.dfs_dir, "quic", name)
        return int(path.read_text(encoding="ascii"), 0)

    def offload(self, state):
        """ Turn sealing, or opening, on or off """
        ethtool(f"-K {self.ifname} {self.FEATURE} {state}", ns=self.ns)

    def offload_on(self):
        """ Turn sealing on, and what it depends on """
        features = "sg on tx-checksum-ip-generic on tx-udp-segmentation on"
        try:
            ethtool(f"-K {self.ifname} {features}", ns=self.ns)
        except CmdExitFailure:
            ethtool(f"-K {self.ifname} sg on tx on", ns=self.ns)
        self.offload("on")

    def is_offload_on(self):
        """ Is sealing, or opening, on? """
        features = ethtool("-k " + self.ifname, ns=self.ns).stdout
        return self.FEATURE + ": on" in features

    def feature_off(self, name):
        """ Turn a feature off for the test, or skip the test """
        or_skip(ethtool, f"-K {self.ifname} {name} off", ns=self.ns)
        defer(self.offload_on)

    def add_qdisc(self, args):
        """ Another root qdisc for the test; returns what removes it """
        or_skip(tc, f"qdisc replace dev {self.ifname} root {args}", ns=self.ns)
        return defer(tc, f"qdisc del dev {self.ifname} root", ns=self.ns)


class MainLink(Link):
    """ The link of the environment """

    def __init__(self, cfg):
        super().__init__(cfg.ifname, cfg.remote_ifname, cfg.remote.name,
                         cfg.remote_addr_v["4"] or cfg.remote_addr_v["6"],
                         nsim=cfg.get_local_nsim_dev())
        self.addr = cfg.addr_v["4"] or cfg.addr_v["6"]
        self.addr_v6 = cfg.addr_v["6"]

    def up(self):
        """ Set the device up, with the IPv6 address that down() removes """
        super().up()
        if self.addr_v6:
            self.ip(f"-6 addr replace {self.addr_v6}/64 dev {self.ifname} "
                    "nodad")


def _finish(link, start):
    link.check_no_keys_left()
    ksft_pr(f"took {time.monotonic() - start:.1f} s")


class RxLink(Link):
    """ A device that opens, and the other end of its wire, which sends """
    PROGRAM = "quic_dev_rx"
    FEATURE = "quic-hw-rx-offload"
    FRAMES = ("QuicRxSwPackets", "QuicRxDevicePackets", "QuicDecryptError",
              "QuicRxDeviceMisdelivered", "QuicRxNoRoom")
    SW_PACKETS = "QuicRxSwPackets"
    DEVICE_PACKETS = "QuicRxDevicePackets"
    KEYS = "QuicRxDevice"
    KEYS_NOW = "QuicCurrRxDevice"

    def ends(self):
        options = {"from_netns": self.remote_ns, "address": self.addr,
                   "source": self.remote_addr}
        if self.ns:
            options["to_netns"] = self.ns
        return options

    def offload_on(self):
        """ Turn opening on, and what it depends on """
        ethtool(f"-K {self.ifname} rx on", ns=self.ns)
        self.offload("on")


class RxMainLink(RxLink, MainLink):
    """ The link of the environment, with a device that opens """


def quic_init(cfg, cls=MainLink):
    """ The device under test, with its offload turned on, and no keys """
    if not Path("/run/netns", cfg.remote.name).exists():
        raise KsftSkipEx("REMOTE_TYPE has to be netns")
    if not hasattr(cfg, "quic_checked"):
        program = NET / cls.PROGRAM
        if not program.exists():
            raise KsftSkipEx(f"{program.name} has not been built")
        proc = cmd([str(program), "--count", "0"], shell=False, fail=False)
        if proc.ret:
            raise KsftSkipEx((proc.stdout + proc.stderr).strip())
        link = cls(cfg)
        or_skip(link.offload_on)
        if link.nsim:
            ip("link set dev lo up")
            link.remote_ip("link set dev lo up")
            for name in ("all", "default", link.remote_ifname):
                sysctl(f"net.ipv4.conf.{name}.rp_filter", 0,
                       ns=link.remote_ns)
        cfg.quic_checked = True
    link = cls(cfg)
    defer(_finish, link, time.monotonic())
    return link


def quic_init_nsim(cfg, cls=MainLink):
    """ The same for a test that only netdevsim can do """
    cfg.require_nsim()
    return quic_init(cfg, cls)


#
# Expectations
#

def check(traffic, **expected):
    """ Counters of @traffic have these values, or those of other counters """
    for name, want in expected.items():
        if isinstance(want, str):
            want = traffic[want]
        ksft_eq(traffic[name], want, f"{name} of {traffic}")


def check_clean(traffic):
    """ Everything has arrived as it should """
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, reordered=0,
          extra=0, errors=0)
    ksft_gt(traffic["sent"], 0, f"sent of {traffic}")


def check_safe(traffic):
    """ What a load is like under which things happen """
    check(traffic, plain=0, bad=0, duplicate=0)
    ksft_gt(traffic["received"], 0, f"received of {traffic}")


def check_no_drops(traffic):
    """ Neither the device nor the kernel has dropped anything """
    check(traffic, QuicTxDeviceDrop=0)
    for name in ("tx_quic_drop_no_key", "tx_quic_drop_bad"):
        if traffic.counts(name):
            check(traffic, **{name: 0})


def check_device(traffic):
    """ The device has sealed everything but the first calls """
    ksft_gt(traffic["QuicTxDevice"], 0, f"QuicTxDevice of {traffic}")
    check(traffic, QuicTxDevicePackets=traffic["sent"] - traffic.first,
          tx_quic_encrypted_packets="QuicTxDevicePackets",
          QuicTxSwPackets=traffic.first, QuicTxDeviceFallback=0)
    check_no_drops(traffic)


def check_mostly_device(traffic, share=.5):
    """
    The device has sealed most of what was sent, or another share. Keys come
    and go, so that software seals many first calls.
    """
    software = traffic["QuicTxSwPackets"]
    device = traffic["QuicTxDevicePackets"]
    ksft_eq(device + software, traffic["sent"], f"sealed of {traffic}")
    ksft_gt(device, share * traffic["sent"],
            f"QuicTxDevicePackets of {traffic}")
    check(traffic, tx_quic_encrypted_packets=device, QuicTxDeviceFallback=0)
    check_no_drops(traffic)


def check_software(traffic):
    """ Software has sealed everything """
    check(traffic, QuicTxSwPackets="sent", QuicTxDevicePackets=0,
          tx_quic_encrypted_packets=0)


def check_rx_clean(traffic):
    """ Everything has arrived, and recvmsg() has told what it is """
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, reordered=0,
          unexpected=0, errors=0)
    ksft_gt(traffic["sent"], 0, f"sent of {traffic}")


def check_rx_safe(traffic):
    """ What arrives is right, when packets may get lost """
    check(traffic, plain=0, bad=0, duplicate=0, unexpected=0)
    ksft_gt(traffic["received"], 0, f"received of {traffic}")


def check_rx_device(traffic):
    """ The device has opened everything but the first calls """
    ksft_gt(traffic["QuicRxDevice"], 0, f"QuicRxDevice of {traffic}")
    check(traffic, opened="sent", QuicRxSwPackets=traffic.first,
          QuicRxDevicePackets=traffic["sent"] - traffic.first,
          QuicRxDeviceMisdelivered=0,
          rx_quic_decrypted_packets="QuicRxDevicePackets", rx_quic_err=0)


def check_rx_mostly_device(traffic):
    """ The device has opened most packets, software the others """
    software = traffic["QuicRxSwPackets"]
    device = traffic["QuicRxDevicePackets"]
    ksft_eq(device + software, traffic["sent"], f"opened of {traffic}")
    ksft_gt(device, software, f"QuicRxDevicePackets of {traffic}")
    check(traffic, opened="sent", rx_quic_decrypted_packets=device,
          QuicRxDeviceMisdelivered=0)


def check_rx_software(traffic):
    """ Software has opened everything """
    check(traffic, opened="sent", QuicRxSwPackets="sent",
          QuicRxDevicePackets=0, rx_quic_decrypted_packets=0)


def check_fallback(traffic):
    """
    Everything but the first calls was meant for the device and left by
    another one, so software sealed it.
    """
    ksft_gt(traffic["QuicTxDevice"], 0, f"QuicTxDevice of {traffic}")
    check(traffic, QuicTxDevicePackets=traffic["sent"] - traffic.first,
          QuicTxDeviceFallback="QuicTxDevicePackets",
          tx_quic_encrypted_packets=0)
    check_no_drops(traffic)
    ksft_gt(traffic["captured"], 0, f"captured of {traffic}")


def ciphers_and_sizes(link, **options):
    """ Traffic of every cipher, in single packets and with GSO """
    for cipher in CIPHERS:
        for segments in (1, 40):
            traffic = link.run(cipher=cipher, segments=segments,
                               count=20 // segments + 4, **options)
            check_clean(traffic)
            yield traffic


def add_link(args, name, ns=None):
    """ Add a virtual device for the test, or skip the test """
    or_skip(ip, f"link add {args}", ns=ns)
    defer(ip, f"link del {name}", ns=ns)


def _connect(link, name, devices, ns=None):
    """ Link the next port of each of two netdevsim devices """
    nsim, remote = devices
    here = f"here{name}"
    there = f"there{name}"
    new = [port for port in nsim.get_ifnames() if not port.startswith("here")]
    ip(f"link set dev {new[0]} name {here}" + (f" netns {ns}" if ns else ""))
    ip(f"link set dev {remote.get_ifnames()[0]} name {there} "
       f"netns {link.remote_ns}")

    index = ip(f"link show dev {here}", json=True, ns=ns)[0]["ifindex"]
    remote_index = ip(f"link show dev {there}", json=True,
                      ns=link.remote_ns)[0]["ifindex"]
    path = f"/run/netns/{ns}" if ns else "/proc/self/ns/net"
    with open(path, "rb") as fd, \
         open(f"/run/netns/{link.remote_ns}", "rb") as remote_fd:
        NetdevSimDev.ctrl_write("link_device",
                                f"{fd.fileno()}:{index} "
                                f"{remote_fd.fileno()}:{remote_index}")
    link.remote_ip(f"link set dev {there} up")
    ip(f"link set dev {here} up", ns=ns)
    cls = RxLink if isinstance(link, RxLink) else Link
    pair = cls(here, there, link.remote_ns, None, nsim=nsim, ns=ns)
    pair.devices = devices
    pair.offload_on()
    return pair


def nsim_pair(link, name, ns=None, prepare=None, ports=1):
    """ A second pair of devices, like that of the environment """
    remote = NetdevSimDev(port_count=ports)
    defer(remote.remove)
    nsim = NetdevSimDev(port_count=ports)
    defer(nsim.remove)
    if prepare:
        prepare(nsim)
    return _connect(link, name, (nsim, remote), ns=ns)


def second_port(link):
    """ The second port of a link that has two """
    port = _connect(link, "8", link.devices)
    port.remote_addr = "198.18.0.2"
    port.ip(f"addr add 198.18.0.1/24 dev {port.ifname}")
    port.remote_ip(f"addr add {port.remote_addr}/24 "
                   f"dev {port.remote_ifname}")
    return port


def spare_link(link, ns=None, table_size=None, ports=1, ipver="4"):
    """ A second link, whose device may be taken away """
    def set_table_size(nsim):
        # The size counts from the next reload on
        name = f"netdevsim/netdevsim{nsim.addr}"
        cmd(f"devlink resource set {name} path /quic size {table_size}")
        cmd(f"devlink dev reload {name}")
        nsim.wait_for_netdevs(ports)

    spare = nsim_pair(link, "9", ns=ns, ports=ports,
                      prepare=set_table_size if table_size else None)
    if ipver == "4":
        spare.addr, spare.remote_addr = EXTRA_V4, EXTRA_REMOTE_V4
        suffix = "/24"
    else:
        spare.addr, spare.remote_addr = EXTRA_V6, EXTRA_REMOTE_V6
        suffix = "/64 nodad"
    spare.ip(f"addr add {spare.addr}{suffix} dev {spare.ifname}")
    spare.remote_ip(f"addr add {spare.remote_addr}{suffix} "
                    f"dev {spare.remote_ifname}")
    return spare
