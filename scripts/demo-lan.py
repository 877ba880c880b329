"""demo-lan - two people on one network meet by a spoken code and talk, measured.

  scripts/demo-lan [--loopback] [FILE]

Drives two real terminals: `qpq init`, `qpq invite`, `qpq join`, and "hi" both ways. Then every non-empty
line of FILE (default: Cargo.lock) goes both ways at once, and both histories are compared with FILE, line
by line. As root the two are hosts of a network of their own (scripts/netlab); else, or with --loopback,
both use loopback.
QPQ_BIN names the program; without it the one of this source tree is built.
Exit status: 0 all arrived, in order, in time; 1 not; 2 usage. Nothing is left behind.
"""
import collections, json, os, pty, re, select, shutil, signal, socket, struct, subprocess, sys
import tempfile, termios, threading, time
from fcntl import ioctl

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
NETLAB = f"{ROOT}/scripts/netlab"
FIRST_MESSAGE_LIMIT, SESSION_LIMIT = 3.0, 10.0    # seconds
SCREEN_DEADLINE = 20.0     # for anything to appear on a screen
STALL_DEADLINE = 30.0      # for the next line to arrive
CODE = r"qpq join (\d{1,3}-[a-z]+-[a-z]+)"
CLOCK = r"\d{1,2}:\d\d"


class Fail(Exception):
    pass


def program():
    """Path of the qpq to run."""
    if os.environ.get("QPQ_BIN"):
        path = os.path.realpath(os.environ["QPQ_BIN"])
        if not os.access(path, os.X_OK):
            raise Fail(f"QPQ_BIN is no program: {path}")
        return path
    path = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR") or "target", "release/qpq")
    if not os.path.exists(path):
        print("building qpq (once, some minutes) ...", flush=True)
    # Also where there is one: it may be older than the source. Takes no time when it is not.
    if subprocess.run(["cargo", "build", "--release", "--locked", "-p", "qpq-p2p"], cwd=ROOT).returncode:
        raise Fail("qpq cannot be built (see above)")
    return os.path.realpath(path)


class Tmux:
    """A screen of 100 x 30 in a tmux server of our own."""

    def __init__(self, folder, name, argv):
        self.base, self.name = ["tmux", "-S", f"{folder}/tmux", "-u", "-f", "/dev/null"], name
        self.tmux("new-session", "-d", "-s", name, "-x", "100", "-y", "30", *argv)

    def tmux(self, *args):
        done = subprocess.run([*self.base, *args], capture_output=True, text=True)
        if done.returncode:
            raise Fail(f"tmux {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def write(self, text):
        self.tmux("send-keys", "-t", self.name, "-l", text)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self.name)

    def close(self):
        subprocess.run([*self.base, "kill-server"], capture_output=True)


class Pty:
    """What a terminal got so far, control sequences taken out; where tmux is missing."""

    def __init__(self, _folder, _name, argv):
        self.pid, self.fd, self.bytes = *pty.fork(), b""
        if self.pid == 0:
            os.execvp(argv[0], argv)
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def write(self, text):
        os.write(self.fd, text.encode())

    def screen(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.bytes += os.read(self.fd, 65536)
            except OSError:    # the program has ended
                break
        text = self.bytes.decode(errors="replace").replace("\r", "")
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()].|.)", "", text)

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except OSError:
            pass


class Person:
    """One user: a folder of their own, a host of their own, a terminal with a shell."""

    def __init__(self, name, folder, on_host, settings):
        self.name, self.on_host = name, on_host
        self.env = {"HOME": folder, "QPQ_HOME": f"{folder}/{name}", "LANG": "C.UTF-8", "PS1": f"{name}$ ",
                    "TERM": "xterm", "PATH": f"{folder}/bin:{os.environ['PATH']}", **settings}
        terminal = Tmux if shutil.which("tmux") else Pty
        self.terminal = terminal(folder, name, self.argv("sh", "-i"))
        self.wait(rf"^{name}\$ ?$")

    def argv(self, *command):
        return [*self.on_host, "env", "-i", *(f"{k}={v}" for k, v in self.env.items()), *command]

    def enter(self, line):
        self.terminal.write(line + "\r")

    def wait(self, pattern, count=1):
        """The last match of a pattern, once the screen shows it `count` times."""
        end = time.monotonic() + SCREEN_DEADLINE
        while True:
            found = list(re.finditer(pattern, self.terminal.screen(), re.MULTILINE))
            if len(found) >= count:
                return found[-1]
            if time.monotonic() > end:
                raise Fail(f"{self.name}'s screen does not show /{pattern}/ within {SCREEN_DEADLINE:.0f} s")
            time.sleep(0.003)

    def shell(self, command):
        """Runs a command in the terminal until the prompt is back."""
        prompts = len(re.findall(rf"^{self.name}\$", self.terminal.screen(), re.MULTILINE))
        self.enter(command)
        self.wait(rf"^{self.name}\$", prompts + 1)

    def leave_chat(self):
        self.terminal.write("\x04")
        self.wait(rf"^{self.name}\$ ?$")

    def log(self, chat):
        """The whole conversation as `qpq log` tells it: (own messages, received messages)."""
        done = subprocess.run(self.argv("qpq", "log", chat, "--json", "-n", "0"), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        if done.returncode:
            raise Fail(f"{self.name}'s `qpq log` ended with {done.returncode}: {done.stderr.strip()}")
        messages = [m for m in map(json.loads, done.stdout.splitlines()) if m["type"] == "message"]
        own = [m for m in messages if m.get("own")]
        return own, [m for m in messages if not m.get("own")]


def meet(anna, ben):
    """The session of the README, timed. Returns True when it was fast enough."""
    start = time.monotonic()
    anna.shell("qpq init anna")
    ben.shell("qpq init ben")

    entered = time.monotonic()
    anna.enter("qpq invite")
    code = anna.wait(CODE)[1]
    ready = time.monotonic() - entered

    entered = time.monotonic()
    ben.enter(f"qpq join {code}")
    ben.wait(r"verified by code ✓ +anna · ")
    anna.wait(r"ben joined · verified by code ✓")
    pairing = time.monotonic() - entered
    ben.wait(r"── anna ─")
    anna.wait(r"── ben ─")

    entered = time.monotonic()
    anna.enter("hi")
    ben.wait(rf"anna, {CLOCK}: hi$")
    message = time.monotonic() - entered
    ben.enter("hi")
    anna.wait(rf"ben, {CLOCK}: hi$")
    whole, total = time.monotonic() - start, ready + pairing + message

    print(f"  start to ready   {ready:6.2f} s   qpq invite -> code {code}")
    print(f"  pairing          {pairing:6.2f} s   qpq join -> verified by code on both screens")
    print(f"  first message    {message:6.2f} s   Enter -> on the other screen")
    print(f"  together         {total:6.2f} s   {verdict(total, FIRST_MESSAGE_LIMIT)}")
    print(f"  whole session    {whole:6.2f} s   {verdict(whole, SESSION_LIMIT)}", flush=True)
    return total < FIRST_MESSAGE_LIMIT and whole < SESSION_LIMIT


def verdict(seconds, limit):
    return f"{'ok' if seconds < limit else 'TOO SLOW'}, the limit is {limit:.0f} s"


class Talk:
    """One `qpq chat --plain` that is fed lines and counts what comes in."""

    def __init__(self, person, peer, folder):
        self.person, self.arrived, self.last = person, 0, time.monotonic()
        self.errors = open(f"{folder}/{person.name}.stderr", "w+")
        self.process = subprocess.Popen(person.argv("qpq", "chat", "--plain", peer), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.incoming = re.compile(rf"{peer}, .{{0,16}}{CLOCK}: (.*)")    # a date stands before the time at midnight
        threading.Thread(target=self.count, daemon=True).start()

    def count(self):
        for line in self.process.stdout:
            found = self.incoming.match(line)
            if found and (self.arrived or found[1] != "hi"):    # "hi" first: the history that a chat opens with
                self.last = time.monotonic()
                self.arrived += 1

    def feed(self, lines):
        def write():
            try:
                self.process.stdin.write("".join(line + "\n" for line in lines))
                self.process.stdin.flush()
            except OSError:    # it ended early: finish() tells
                pass
        self.feeder = threading.Thread(target=write, daemon=True)
        self.feeder.start()

    def finish(self):
        self.feeder.join(STALL_DEADLINE)
        self.process.stdin.close()
        status = self.process.wait(STALL_DEADLINE)
        if status:
            self.errors.seek(0)
            raise Fail(f"{self.person.name}'s `qpq chat --plain` ended with {status}: {self.errors.read().strip()}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def flood(anna, ben, path, folder, cleanup):
    """Every non-empty line of a file both ways at once. Returns True when both histories equal the file."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    if len(lines) < 1000:
        raise Fail(f"{path} has {len(lines)} non-empty lines, 1,000 are wanted")
    print(f"\n  {os.path.relpath(path)}: {len(lines):,} lines, both ways at once", flush=True)
    start, talks = time.monotonic(), []
    for person, peer in ((anna, "ben"), (ben, "anna")):
        talks.append(Talk(person, peer, folder))
        cleanup.append(talks[-1].kill)
    for talk in talks:
        talk.feed(lines)
    while any(talk.arrived < len(lines) for talk in talks):
        time.sleep(0.01)
        ended = any(talk.process.poll() is not None for talk in talks)
        if ended or time.monotonic() - max(talk.last for talk in talks) > STALL_DEADLINE:
            print(f"  stopped: {', '.join(f'{t.person.name} got {t.arrived:,}' for t in talks)}")
            break
    seconds = max(talk.last for talk in talks) - start
    for talk in talks:
        talk.finish()
    (anna_sent, anna_got), (ben_sent, ben_got) = anna.log("ben"), ben.log("anna")
    good = [compare("anna -> ben", lines, anna_sent, ben_got), compare("ben -> anna", lines, ben_sent, anna_got)]
    print(f"  {2 * len(lines) / seconds:,.0f} lines/s, {seconds:.1f} s")
    return all(good)


def compare(title, lines, sent, received):
    """Both histories must be "hi" and then the file: same texts, same order, each message once."""
    expected = ["hi", *lines]
    texts = [m["text"] for m in received]
    missing = sum((collections.Counter(expected) - collections.Counter(texts)).values())
    ids = [m["id"] for m in received]
    doubled = len(ids) - len(set(ids))
    good = (texts == expected == [m["text"] for m in sent] and ids == [m["id"] for m in sent]
            and [m["seq"] for m in received] == list(range(1, len(expected) + 1)) and not doubled)
    print(f"  {title}   {len(sent):,} sent, {len(received):,} received, {missing} missing, {doubled} doubled, "
          + ("in order" if good else "NOT EQUAL to the file"))
    if not good:
        at = next((i for i, pair in enumerate(zip(expected, texts)) if pair[0] != pair[1]), len(texts))
        print(f"    first difference at message {at + 1}: expected {expected[at:at + 1]}, got {texts[at:at + 1]}")
    return good


def run(path, folder, in_lab):
    """The whole demo. Returns True when all arrived, in order, in time."""
    cleanup = []
    try:
        if in_lab:
            subprocess.run([NETLAB, "up", "lan", "2"], check=True, stdout=subprocess.DEVNULL)
            cleanup.append(lambda: subprocess.run([NETLAB, "down"], stdout=subprocess.DEVNULL))
            hosts, settings = [[NETLAB, "exec", "h1"], [NETLAB, "exec", "h2"]], {}
            print("anna and ben on two hosts of one network, no internet")
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            hosts, settings = [[], []], {"QPQ_INTERFACES": "lo", "QPQ_MDNS_PORT": str(port)}
            print("anna and ben on loopback (as root: two hosts of one network)")
        people = []
        for name, host in zip(("anna", "ben"), hosts):
            people.append(Person(name, folder, host, settings))
            cleanup.append(people[-1].terminal.close)
        try:
            fast = meet(*people)
            for person in people:
                person.leave_chat()
            return flood(*people, path, folder, cleanup) and fast
        except Fail:
            for person in people:
                print(f"---- {person.name}'s screen\n{person.terminal.screen().rstrip()}\n----", file=sys.stderr)
            raise
    finally:
        for action in reversed(cleanup):
            action()


def run_in_sandbox(path, folder):
    """The same in namespaces of its own: what runs there dies with the sandbox, whatever ends it."""
    inner = subprocess.Popen([NETLAB, "sandbox", sys.executable, os.path.realpath(__file__), "--in-lab", folder, path])
    try:
        return inner.wait() == 0
    finally:
        inner.kill()
        inner.wait()


def main():
    args = sys.argv[1:]
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _frame: sys.exit(128 + number))
    if args[:1] == ["--in-lab"]:
        return 0 if run(args[2], args[1], True) else 1
    loopback = args[:1] == ["--loopback"]
    args = args[1:] if loopback else args
    if len(args) > 1 or args[:1] and args[0].startswith("-"):
        print(__doc__.strip())
        return 0 if args in (["-h"], ["--help"]) else 2
    path, qpq = os.path.realpath(args[0] if args else f"{ROOT}/Cargo.lock"), program()
    able = not loopback and os.geteuid() == 0 and not subprocess.run(
        [NETLAB, "sandbox", NETLAB, "check"], capture_output=True).returncode
    folder = tempfile.mkdtemp(prefix="qpq-demo-")
    try:
        os.mkdir(f"{folder}/bin")
        os.symlink(qpq, f"{folder}/bin/qpq")
        good = run_in_sandbox(path, folder) if able else run(path, folder, False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\neverything arrived, in order, once, in time" if good else "\nFAILED (see above)")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Fail, OSError, ValueError, subprocess.SubprocessError) as e:
        print(f"demo-lan: {e}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
