# The golden session and a subscription, with the options the guide gives its sockets.
#
#     elixir session.exs HOST PORT
#
# Expects a listener whose registry is empty. Prints "session ok"; any difference is told on
# standard error, with exit status 1.

defmodule Session do
  @wait 20_000

  def connect(host, port) do
    options = [:binary, packet: :line, active: false]

    case :gen_tcp.connect(String.to_charlist(host), port, options, @wait) do
      {:ok, socket} -> socket
      {:error, reason} -> fail("connecting: #{inspect(reason)}")
    end
  end

  # Sends a request and compares each line of its reply, byte for byte.
  def ask(socket, request, lines) do
    send_line(socket, request)
    Enum.each(lines, fn line -> hear(socket, line, request) end)
  end

  def send_line(socket, request) do
    case :gen_tcp.send(socket, request <> "\r\n") do
      :ok -> :ok
      {:error, reason} -> fail("#{request}: sending: #{inspect(reason)}")
    end
  end

  def hear(socket, line, after_what) do
    case :gen_tcp.recv(socket, 0, @wait) do
      {:ok, ^line} -> :ok
      other -> fail("#{after_what}: #{inspect(line)} expected, came #{inspect(other)}")
    end
  end

  # SUBSCRIBE has no answer: a key is set until the subscriber has heard of it.
  def wait_until_subscribed(subscriber, other, times \\ 1) do
    ask(other, "PUT shopping subscribed #{times}", ["OK\r\n"])

    case :gen_tcp.recv(subscriber, 0, 50) do
      {:ok, line} -> forget(subscriber, line, times)
      {:error, :timeout} when times < 400 -> wait_until_subscribed(subscriber, other, times + 1)
      error -> fail("a subscriber hears nothing: #{inspect(error)}")
    end
  end

  # The lines up to that of the last time.
  defp forget(subscriber, line, times) do
    cond do
      line == "subscribed SET TO #{times}\r\n" ->
        :ok

      String.starts_with?(line, "subscribed SET TO ") ->
        case :gen_tcp.recv(subscriber, 0, @wait) do
          {:ok, next} -> forget(subscriber, next, times)
          error -> fail("a subscriber hears no more: #{inspect(error)}")
        end

      true ->
        fail("a subscriber hears #{inspect(line)}")
    end
  end

  # After its last request a connection gets nothing but its end.
  def finish(socket) do
    :ok = :gen_tcp.shutdown(socket, :write)

    case :gen_tcp.recv(socket, 0, @wait) do
      {:error, :closed} -> :ok
      other -> fail("the end expected, came #{inspect(other)}")
    end
  end

  def fail(what) do
    IO.puts(:stderr, "session: " <> what)
    System.halt(1)
  end
end

{host, port} =
  case System.argv() do
    [host, port] -> {host, String.to_integer(port)}
    _ -> Session.fail("usage: elixir session.exs HOST PORT")
  end

first = Session.connect(host, port)
Session.ask(first, "UNKNOWN shopping", ["UNKNOWN COMMAND\r\n"])
Session.ask(first, "GET shopping eggs", ["NOT FOUND\r\n"])
Session.ask(first, "CREATE shopping", ["OK\r\n"])
Session.ask(first, "PUT shopping eggs 3", ["OK\r\n"])
Session.ask(first, "GET shopping eggs", ["3\r\n", "OK\r\n"])
Session.ask(first, "DELETE shopping eggs", ["OK\r\n"])
Session.ask(first, "GET shopping eggs", ["\r\n", "OK\r\n"])

subscriber = Session.connect(host, port)
other = Session.connect(host, port)
Session.ask(subscriber, "CREATE shopping", ["OK\r\n"])
Session.send_line(subscriber, "SUBSCRIBE shopping")
Session.wait_until_subscribed(subscriber, other)
Session.ask(other, "PUT shopping milk 3", ["OK\r\n"])
Session.hear(subscriber, "milk SET TO 3\r\n", "PUT")
Session.ask(other, "DELETE shopping milk", ["OK\r\n"])
Session.hear(subscriber, "milk DELETED\r\n", "DELETE")

Session.finish(first)
Session.finish(other)
IO.puts("session ok")
