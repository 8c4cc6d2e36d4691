%% The scenarios of the suite `nerve`: two nodes of distributed Erlang on the loopback, a process on each (bench/README.md).
-module(peer_nerve).
-export([run/4, far/1]).

-define(ITEM_BYTES, 64).

run(Scenario, _, Operations, Shape) -> between_nodes(Shape, fun(Far) -> scenario(Scenario, Operations, Far) end).

%% Its nodes speak by TCP, also where others have something quicker for one machine.
scenario(ipc_roundtrip, Operations, Far) -> scenario(tcp_roundtrip, Operations, Far);
scenario(ipc_roundtrip_p99, Operations, Far) -> {us, percentile(rally(Operations, Far), 99) / 1000};
scenario(ipc_rate, Operations, Far) -> scenario(tcp_rate, Operations, Far);
scenario(tcp_roundtrip, Operations, Far) -> {us, percentile(rally(Operations, Far), 50) / 1000};
scenario(tcp_rate, Operations, Far) ->
    stream(Operations div 10 + 1, Far),
    {'/s', Operations * 1.0e9 / stream(Operations, Far)}.

rally(Operations, Far) ->
    Far ! {echo, self()},
    hit(Operations div 10 + 1, Far, []),
    hit(Operations, Far, []).

hit(0, _, Times) -> Times;
hit(Left, Far, Times) ->
    Ball = <<0:?ITEM_BYTES/unit:8>>,
    Begin = now_ns(),
    Far ! Ball,
    receive Ball -> hit(Left - 1, Far, [now_ns() - Begin | Times]) end.

stream(Items, Far) ->
    Far ! {add_up, Items, self()},
    Begin = now_ns(),
    send(0, Items, Far),
    receive {sum, Sum} -> Sum = Items * (Items - 1) div 2 end,
    now_ns() - Begin.

send(Items, Items, _) -> ok;
send(Next, Items, Far) ->
    Far ! <<Next:64, 0:(?ITEM_BYTES - 8)/unit:8>>,
    send(Next + 1, Items, Far).

%% --- the other node --------------------------------------------------------------------------------------------------

%% Runs there: tells the first node its process, and ends with that node at the latest.
far([Near]) ->
    Node = list_to_atom(Near),
    pong = net_adm:ping(Node),
    true = erlang:monitor_node(Node, true),
    Pid = spawn_link(fun serve/0),
    {runner, Node} ! {far, Pid},
    receive {nodedown, Node} -> erlang:halt(0) end.

serve() ->
    receive
        {add_up, Items, To} ->
            To ! {sum, add_up(Items, 0)},
            serve();
        {echo, To} ->
            echo(To)
    end.

add_up(0, Sum) -> Sum;
add_up(Left, Sum) -> receive <<Item:64, _/binary>> -> add_up(Left - 1, Sum + Item) end.

echo(To) -> receive Ball -> To ! Ball, echo(To) end.

between_nodes(Shape, Measure) ->
    true = register(runner, self()),
    {ok, [[Erl]]} = init:get_argument(second_emulator),
    Flags = [Flag || Word <- Shape, Flag <- flags(Word)],
    _ = open_port({spawn_executable, Erl}, [{args, Flags ++ [
        "-noshell", "-noinput", "-name", "far@127.0.0.1", "-setcookie", atom_to_list(erlang:get_cookie()),
        "-start_epmd", "false", "-epmd_module", "peer_epmd", "-peer_port", integer_to_list(peer_epmd:port()),
        "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-pa", filename:dirname(code:which(?MODULE)),
        "-run", "peer_nerve", "far", atom_to_list(node())]}]),
    receive {far, Far} -> Measure(Far) after 30000 -> exit(no_second_node) end.

%% What run.in makes of these words for the first emulator.
flags("schedulers=0") -> [];
flags("schedulers=" ++ Count) -> ["+S", Count];
flags("eager=1") -> ["+sbwt", "very_long", "+sws", "legacy"];
flags("busy_kib=" ++ Limit) -> ["+zdbbl", Limit];
flags(_) -> [].

percentile(Times, Percent) ->
    Sorted = lists:sort(Times),
    lists:nth(max(1, (length(Times) * Percent + 99) div 100), Sorted).

now_ns() -> erlang:monotonic_time(nanosecond).
