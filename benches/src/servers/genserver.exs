# The peer on Erlang's own machine. It reads what to do, a line each, and how often; and writes
# nanoseconds of one, so that others can take turns with it. Of `many` it writes the bytes of one
# server, and the nanoseconds to start, call and stop one.
defmodule Counter do
  use GenServer
  def init(sum), do: {:ok, sum}
  def handle_call({:add, by}, _from, sum), do: {:reply, sum + by, sum + by}
  def handle_cast({:add, by}, sum), do: {:noreply, sum + by}
end

# In a module: what stands outside of one is interpreted.
defmodule Peer do
  def time(count, work) do
    start = :erlang.monotonic_time(:nanosecond)
    work.()
    (:erlang.monotonic_time(:nanosecond) - start) / count
  end

  def each(count, work), do: time(count, fn -> repeat(count, work) end)

  defp repeat(0, _), do: :ok

  defp repeat(count, work) do
    work.()
    repeat(count - 1, work)
  end

  def run(server, "call", count), do: [each(count, fn -> GenServer.call(server, {:add, 1}) end)]

  def run(server, "cast", count) do
    [
      time(count, fn ->
        repeat(count, fn -> GenServer.cast(server, {:add, 1}) end)
        GenServer.call(server, {:add, 1})
      end)
    ]
  end

  def run(server, "cast-then-call", count) do
    [
      each(count, fn ->
        GenServer.cast(server, {:add, 1})
        GenServer.call(server, {:add, 1})
      end)
    ]
  end

  def run(_, "many", count) do
    before = :erlang.memory(:processes)
    start = :erlang.monotonic_time(:nanosecond)
    all = for _ <- 1..count, do: elem(GenServer.start(Counter, 0), 1)
    started = (:erlang.monotonic_time(:nanosecond) - start) / count
    bytes = (:erlang.memory(:processes) - before) / count
    called = time(count, fn -> Enum.each(all, &GenServer.call(&1, {:add, 1})) end)
    stopped = time(count, fn -> Enum.each(all, &GenServer.stop/1) end)
    [bytes, started, called, stopped]
  end

  def serve(server) do
    case IO.read(:line) do
      :eof ->
        :ok

      line ->
        [what, count] = String.split(line)
        IO.puts(Enum.join(run(server, what, String.to_integer(count)), " "))
        serve(server)
    end
  end
end

{:ok, server} = GenServer.start(Counter, 0)
Peer.serve(server)
