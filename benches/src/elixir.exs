# What the guide's own building blocks cost. A line each: name and nanoseconds.
defmodule Bench do
  def time(name, count, work) do
    rounds =
      for _ <- 1..7 do
        {us, _} = :timer.tc(fn -> Enum.each(1..count, work) end)
        us * 1000 / count
      end

    median = rounds |> Enum.sort() |> Enum.at(3)
    IO.puts("#{name} #{median}")
  end
end

defmodule Server do
  use GenServer
  def init(state), do: {:ok, state}
  def handle_call({:lookup, name}, _from, names), do: {:reply, Map.fetch(names, name), names}

  def handle_call({:create, name}, _from, names) do
    {:ok, bucket} = Agent.start(fn -> %{} end)
    Process.monitor(bucket)
    {:reply, bucket, Map.put(names, name, bucket)}
  end

  def handle_info({:DOWN, _, _, pid, _}, names),
    do: {:noreply, names |> Enum.reject(fn {_, other} -> other == pid end) |> Map.new()}
end

# In a module: what stands outside of one is interpreted.
defmodule Run do
  def run do
    value = String.duplicate("v", 64)
    keys = for i <- 0..999, do: "k" <> String.pad_leading("#{i}", 9, "0")
    map = Map.new(keys, &{&1, value})
    {:ok, agent} = Agent.start(fn -> map end)
    tuple = List.to_tuple(keys)
    key = fn i -> elem(tuple, rem(i * 7919, 1000)) end

    Bench.time("Agent.get", 20_000, fn i -> Agent.get(agent, &Map.get(&1, key.(i))) end)
    Bench.time("Agent.update", 20_000, fn i -> Agent.update(agent, &Map.put(&1, key.(i), value)) end)

    table = :ets.new(:bucket, [:public, :set])
    for {k, v} <- map, do: :ets.insert(table, {k, v})
    Bench.time("ETS lookup", 100_000, fn i -> :ets.lookup(table, key.(i)) end)
    Bench.time("ETS insert", 100_000, fn i -> :ets.insert(table, {key.(i), value}) end)

    {:ok, registry} = GenServer.start(Server, %{})
    GenServer.call(registry, {:create, "shopping"})
    Bench.time("GenServer.call, a lookup", 20_000, fn _ -> GenServer.call(registry, {:lookup, "shopping"}) end)

    Bench.time("create, look up, stop", 5_000, fn i ->
      GenServer.call(registry, {:create, i})
      {:ok, bucket} = GenServer.call(registry, {:lookup, i})
      Agent.stop(bucket)
    end)

    Bench.time("spawn, monitor, exit, DOWN", 20_000, fn _ ->
      pid = spawn(fn -> receive do: (:stop -> :ok) end)
      reference = Process.monitor(pid)
      send(pid, :stop)
      receive do: ({:DOWN, ^reference, _, _, _} -> :ok)
    end)
  end
end

Run.run()
