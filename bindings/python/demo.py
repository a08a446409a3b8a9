"""The shopping session: commands and their replies, and then the end of a bucket."""

import kvreg

SESSION = """\
CREATE shopping
PUT shopping milk 1
PUT shopping eggs 3
GET shopping milk
DELETE shopping eggs
GET shopping eggs
GET garage hammer
HELLO
"""


def say(registry: kvreg.Registry, line: str) -> None:
    """Prints a command and its reply."""
    print(line)
    for reply in registry.execute(line).decode().splitlines():
        print(reply)


def main() -> None:
    """Plays the session, kills the bucket, and looks for it again."""
    with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
        for line in SESSION.splitlines():
            say(registry, line)

        shopping = registry["shopping"]
        inbox.monitor(shopping)
        shopping.exit(kvreg.Reason.KILLED)
        down = inbox.receive(timeout=1.0)
        if isinstance(down, kvreg.Down):
            print(f"DOWN {down.reason.name} {down.name}")

        say(registry, "GET shopping milk")
        print(f"names: {list(registry)}")


if __name__ == "__main__":
    main()
