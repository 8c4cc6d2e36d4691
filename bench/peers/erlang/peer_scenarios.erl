%% The scenarios of the suite `cells`, in the shape that is best for Erlang (bench/README.md says why each was chosen).
-module(peer_scenarios).
-export([run/4, cell/0, hibernating_cell/0]).
-export([start_supervised/3, parallel/2, share/3, option/3]).  % for peer_supervise

-define(WINDOW, 1024).

run(spawn, Cells, _, Shape) -> {ns, spawn_cells(Cells, Shape) / Cells};
run(bytes_idle, Cells, _, Shape) -> {bytes, bytes_idle(Cells, Shape) / Cells};
run(bytes_supervised, Cells, _, Shape) -> {bytes, bytes_supervised(Cells, Shape) / Cells};
run(roundtrip_local, _, Trips, _) -> {ns, roundtrip(Trips, 1, 1) / Trips};
run(roundtrip_cross, _, Trips, _) -> {ns, roundtrip(Trips, 1, 2) / Trips};
run(fan_in, _, Items, Shape) -> {ns, fan_in(Items, Shape) / Items};
run(scatter, Cells, _, Shape) -> {ns, scatter(Cells, Shape) / Cells};
run(big, Cells, Pairs, _) -> {ns, big(Cells, Pairs div Cells) / (Pairs div Cells * Cells)};
run(ring, Cells, Hops, _) -> {ns, ring(Cells, Hops) / Hops};
run(ask, _, Asks, Shape) -> {ns, ask(Asks, Shape) / Asks};
run(idle_cpu, Cells, Milliseconds, _) -> {percent, idle_cpu(Cells, Milliseconds)};
run(supervise_start, Cells, _, Shape) ->
    {Elapsed, _} = start_supervised(Cells, Shape, []),
    {ns, Elapsed / Cells}.

%% A bare cell: handles signals until it is told to stop.
cell() ->
    receive
        signal -> peer_gate:arrive(), cell();
        stop -> ok
    end.

hibernating_cell() ->
    receive
        signal -> peer_gate:arrive(), erlang:hibernate(?MODULE, hibernating_cell, []);
        stop -> ok
    end.

now_ns() -> erlang:monotonic_time(nanosecond).

spawn_cells(Cells, Shape) ->
    Spawners = count_option("spawners", Shape, 1),
    case option("warm", Shape, 0) of
        0 -> ok;
        Warm -> [Pid ! stop || Pid <- [spawn(?MODULE, cell, []) || _ <- lists:seq(1, Warm)]]
    end,
    Begin = now_ns(),
    Lists = parallel(Spawners, fun(Index) ->
        spawn_list(share(Cells, Spawners, Index), [])
    end),
    End = now_ns(),
    Cells = lists:sum([length(List) || List <- Lists]),
    End - Begin.

spawn_list(0, Pids) -> Pids;
spawn_list(Count, Pids) -> spawn_list(Count - 1, [spawn(?MODULE, cell, []) | Pids]).

bytes_idle(Cells, Shape) ->
    Entry = case option("hibernate", Shape, 0) of 0 -> cell; _ -> hibernating_cell end,
    erlang:garbage_collect(),
    Before = resident_bytes(),
    Pids = [spawn(?MODULE, Entry, []) || _ <- lists:seq(1, Cells)],
    signal_all(Pids),
    settle(),
    After = resident_bytes(),
    Cells = length(Pids),
    After - Before.

bytes_supervised(Cells, Shape) ->
    Idle = case option("hibernate", Shape, 0) of 0 -> []; _ -> [hibernate] end,
    erlang:garbage_collect(),
    Before = resident_bytes(),
    {_, Supervisors} = start_supervised(Cells, Shape, Idle),
    peer_gate:arm(Cells),
    lists:foreach(fun(Supervisor) ->
        [gen_server:cast(Pid, signal) || {_, Pid, _, _} <- supervisor:which_children(Supervisor)]
    end, Supervisors),
    peer_gate:await(),
    [erlang:garbage_collect(Supervisor) || Supervisor <- Supervisors],
    settle(),
    resident_bytes() - Before.

%% One signal to each, all handled.
signal_all(Pids) ->
    peer_gate:arm(length(Pids)),
    send_all(Pids),
    peer_gate:await().

send_all([Pid | Pids]) -> Pid ! signal, send_all(Pids);
send_all([]) -> ok.

scatter(Cells, Shape) ->
    Pids = spawn_list(Cells, []),
    signal_all(Pids),
    [erlang:garbage_collect() || option("gc", Shape, 1) =:= 1],
    peer_gate:arm(Cells),
    Begin = now_ns(),
    send_all(Pids),
    peer_gate:await(),
    now_ns() - Begin.

roundtrip(Trips, PingScheduler, PongScheduler) ->
    Parent = self(),
    Pong = spawn_opt(fun() -> pong_first() end, [{scheduler, PongScheduler}]),
    spawn_opt(fun() ->
        Pong ! {partner, self()},
        ping(Pong, Trips div 10),
        Begin = now_ns(),
        ping(Pong, Trips),
        Parent ! {elapsed, now_ns() - Begin}
    end, [{scheduler, PingScheduler}]),
    elapsed().

ping(_, 0) -> ok;
ping(Pong, Left) ->
    Pong ! ping,
    receive pong -> ping(Pong, Left - 1) end.

pong_first() -> receive {partner, Ping} -> pong(Ping) end.

pong(Ping) -> receive ping -> Ping ! pong, pong(Ping) end.

%% A window of messages in flight, half of which is granted anew each time: memory stays bounded, and neither side waits
%% unless the other is half a window behind.
fan_in(Items, Shape) ->
    Window = option("window", Shape, ?WINDOW),
    Parent = self(),
    {ConsumerOptions, ProducerOptions} = case option("bound", Shape, 0) of
        0 -> {[], []};
        1 -> {[{scheduler, 1}], [{scheduler, 1}]};
        2 -> {[{scheduler, 1}], [{scheduler, 2}]}
    end,
    QueueOptions = case option("offheap", Shape, 0) of 0 -> []; _ -> [{message_queue_data, off_heap}] end,
    Consumer = spawn_opt(fun() ->
        receive {producer, Producer} ->
            Half = Window div 2,
            consume(Items div 10, Producer, Half, Half, 0),
            Sum = consume(Items, Producer, Half, Half, 0),
            Sum = Items * (Items + 1) div 2,
            Parent ! {stop, now_ns()}
        end
    end, ConsumerOptions ++ QueueOptions),
    spawn_opt(fun() ->
        Consumer ! {producer, self()},
        Half = Window div 2,
        produce(Items div 10, Consumer, Half * 2, Half),
        drain_grants(),
        Parent ! {start, now_ns()},
        produce(Items, Consumer, Half * 2, Half)
    end, ProducerOptions),
    receive {start, Begin} -> receive {stop, End} -> End - Begin end end.

produce(0, _, _, _) -> ok;
produce(Left, Consumer, 0, Half) -> receive grant -> produce(Left, Consumer, Half, Half) end;
produce(Left, Consumer, Credit, Half) ->
    Consumer ! Left,
    produce(Left - 1, Consumer, Credit - 1, Half).

consume(0, _, _, _, Sum) -> Sum;
consume(Left, Producer, 0, Half, Sum) -> Producer ! grant, consume(Left, Producer, Half, Half, Sum);
consume(Left, Producer, Until, Half, Sum) ->
    receive Item when is_integer(Item) -> consume(Left - 1, Producer, Until - 1, Half, Sum + Item) end.

drain_grants() -> receive grant -> drain_grants() after 10 -> ok end.

%% Savina's big. A ping is the sender's index, a pong the atom; the table of all actors is a persistent term.
big(Actors, Rounds) ->
    Pids = [spawn(fun() -> big_start(Index, Actors) end) || Index <- lists:seq(0, Actors - 1)],
    persistent_term:put(big, list_to_tuple(Pids)),
    big_round(Pids, Actors, max(1, Rounds div 10)),
    Begin = now_ns(),
    big_round(Pids, Actors, Rounds),
    now_ns() - Begin.

big_round(Pids, Actors, Rounds) ->
    peer_gate:arm(Actors),
    [Pid ! {go, Rounds} || Pid <- Pids],
    peer_gate:await().

big_start(Index, Actors) -> big_idle(Index, Actors, Index + 1).

big_idle(Index, Actors, Random) ->
    receive
        Sender when is_integer(Sender) ->
            element(Sender + 1, persistent_term:get(big)) ! pong,
            big_idle(Index, Actors, Random);
        {go, Rounds} ->
            big_busy(Index, Actors, big_ping(Index, Actors, Random), Rounds)
    end.

big_busy(Index, Actors, Random, Left) ->
    receive
        Sender when is_integer(Sender) ->
            element(Sender + 1, persistent_term:get(big)) ! pong,
            big_busy(Index, Actors, Random, Left);
        pong when Left > 1 ->
            big_busy(Index, Actors, big_ping(Index, Actors, Random), Left - 1);
        pong ->
            peer_gate:arrive(),
            big_idle(Index, Actors, Random)
    end.

%% The minimal standard generator picks the partner; an actor never picks itself.
big_ping(Index, Actors, Random) ->
    Next = Random * 48271 rem 2147483647,
    Partner = case Next rem Actors of
        Index -> (Index + 1) rem Actors;
        Other -> Other
    end,
    element(Partner + 1, persistent_term:get(big)) ! Index,
    Next.

ring(Cells, Hops) ->
    Parent = self(),
    First = spawn(fun() -> receive {next, Next} -> ring_cell(Next, Parent) end end),
    Last = lists:foldl(fun(_, Previous) ->
        Pid = spawn(fun() -> receive {next, Next} -> ring_cell(Next, Parent) end end),
        Previous ! {next, Pid},
        Pid
    end, First, lists:seq(2, Cells)),
    Last ! {next, First},
    First ! Hops div 10,
    receive done -> ok end,
    Begin = now_ns(),
    First ! Hops,
    receive done -> now_ns() - Begin end.

ring_cell(Next, Parent) ->
    receive
        1 -> Parent ! done, ring_cell(Next, Parent);
        Left -> Next ! Left - 1, ring_cell(Next, Parent)
    end.

%% The question is answered by a gen_server, asked with gen_server:call and its timeout.
ask(Asks, Shape) ->
    Parent = self(),
    Options = case option("bound", Shape, 0) of 0 -> []; _ -> [{scheduler, 1}] end,
    spawn_opt(fun() ->
        {ok, Server} = gen_server:start(peer_child, awake, [{spawn_opt, Options}]),
        ask_times(Server, Asks div 10),
        Begin = now_ns(),
        ask_times(Server, Asks),
        Parent ! {elapsed, now_ns() - Begin}
    end, Options),
    elapsed().

ask_times(_, 0) -> ok;
ask_times(Server, Left) ->
    42 = gen_server:call(Server, question, 1000),
    ask_times(Server, Left - 1).

idle_cpu(Cells, Milliseconds) ->
    signal_all(spawn_list(Cells, [])),
    settle(),
    {Before, _} = erlang:statistics(runtime),
    Begin = now_ns(),
    receive after Milliseconds -> ok end,
    {After, _} = erlang:statistics(runtime),
    100 * (After - Before) * 1000000 / (now_ns() - Begin).

%% Supervisors of a thousand children each, filled by several starters in parallel.
start_supervised(Cells, Shape, ChildArguments) ->
    PerSupervisor = option("children", Shape, 1000),
    Starters = count_option("starters", Shape, 0),
    Count = max(1, Cells div PerSupervisor),
    Begin = now_ns(),
    Lists = parallel(Starters, fun(Starter) ->
        [start_one(share(Cells, Count, Index), ChildArguments) ||
            Index <- lists:seq(Starter, Count, Starters)]
    end),
    {now_ns() - Begin, lists:append(Lists)}.

%% The supervisor is unlinked, because it must outlive its starter.
start_one(Children, ChildArguments) ->
    {ok, Supervisor} = peer_sup:start_link(ChildArguments),
    unlink(Supervisor),
    start_children(Supervisor, Children),
    Supervisor.

start_children(_, 0) -> ok;
start_children(Supervisor, Left) ->
    {ok, _} = supervisor:start_child(Supervisor, []),
    start_children(Supervisor, Left - 1).

%% --- small things --------------------------------------------------------------------------------------------------

parallel(1, Work) -> [Work(1)];
parallel(Count, Work) ->
    Parent = self(),
    References = [begin
        Reference = make_ref(),
        spawn_opt(fun() -> Parent ! {Reference, Work(Index)} end, [link, {scheduler, scheduler_of(Index)}]),
        Reference
    end || Index <- lists:seq(1, Count)],
    [receive {Reference, Result} -> Result end || Reference <- References].

scheduler_of(Index) -> (Index - 1) rem erlang:system_info(schedulers_online) + 1.

%% The Index-th of Parts shares of Total, as even as can be.
share(Total, Parts, Index) when Index =< Total rem Parts -> Total div Parts + 1;
share(Total, Parts, _) -> Total div Parts.

option(Name, Shape, Default) ->
    case lists:search(fun(Word) -> lists:prefix(Name ++ "=", Word) end, Shape) of
        {value, Word} -> list_to_integer(lists:nthtail(length(Name) + 1, Word));
        false -> Default
    end.

%% As option/3, where 0 is one for each scheduler.
count_option(Name, Shape, Default) ->
    case option(Name, Shape, Default) of
        0 -> erlang:system_info(schedulers_online);
        Count -> Count
    end.

elapsed() -> receive {elapsed, Nanoseconds} -> Nanoseconds end.

%% Lets what is still running come to rest before memory or processor time is read.
settle() ->
    erlang:garbage_collect(),
    receive after 500 -> ok end.

resident_bytes() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kibibytes]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kibibytes) * 1024.
