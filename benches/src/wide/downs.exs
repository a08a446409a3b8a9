# Nanoseconds of a DOWN, the medians of three: of 200,000 from one exit, and one at a time.
defmodule Downs do
  def receive_all(0), do: :ok

  def receive_all(left) do
    receive do: ({:DOWN, _, :process, _, _} -> receive_all(left - 1))
  end

  def of_one_exit(count) do
    process = spawn(fn -> Process.sleep(:infinity) end)
    Enum.each(1..count, fn _ -> Process.monitor(process) end)

    time(count, fn ->
      Process.exit(process, :kill)
      receive_all(count)
    end)
  end

  def one_at_a_time(count) do
    time(count, fn ->
      Enum.each(1..count, fn _ ->
        process = spawn(fn -> receive do: (:stop -> :ok) end)
        Process.monitor(process)
        send(process, :stop)
        receive_all(1)
      end)
    end)
  end

  defp time(count, work) do
    {microseconds, _} = :timer.tc(work)
    microseconds * 1000 / count
  end

  def median(round), do: 1..3 |> Enum.map(fn _ -> round.() end) |> Enum.sort() |> Enum.at(1)
end

IO.puts(Downs.median(fn -> Downs.of_one_exit(200_000) end))
IO.puts(Downs.median(fn -> Downs.one_at_a_time(20_000) end))
