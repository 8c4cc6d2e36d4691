%% The scenarios of the suite `schedule` (bench/README.md says why each shape was chosen).
-module(peer_schedule).
-export([run/4, restless/2]).

-define(BATCH, 1000).
-define(INTERVAL_NS, 1000000).

run(timer_start, Timers, Operations, Shape) -> {ns, element(2, timers(Timers, Operations, Shape)) / Operations};
run(timer_cancel, Timers, Operations, Shape) -> {ns, element(1, timers(Timers, Operations, Shape)) / Operations};
run(fair_p99, Cells, Milliseconds, _) -> {us, percentile(fair(Cells, Milliseconds), 99) / 1000};
run(starved, Cells, Milliseconds, _) -> {cells, starved(Cells, Milliseconds)};
run(spinner_throughput, Cells, Milliseconds, _) -> {percent, spinner_throughput(Cells, Milliseconds)};
run(coroutine_ask, Cells, Asks, Shape) -> peer_scenarios:run(ask, Cells, Asks, Shape).

%% --- timers ----------------------------------------------------------------------------------------------------------

%% One process has all the timers, and replaces a thousand of them at a time by others. Which, and by what delays, is drawn
%% before the clock is read. Where they are kept is not part of the figure.
timers(Timers, Operations, Shape) ->
    Parent = self(),
    Options = case option("large", Shape, 0) of 0 -> []; _ -> [{min_heap_size, 4000000}] end,
    Cancel = case option("async", Shape, 0) of
        0 -> fun cancel_each/1;
        _ -> fun cancel_each_async/1
    end,
    spawn_opt(fun() ->
        Table = ets:new(timers, [set, private]),
        Random = fill(Table, 0, Timers, 1),
        {Order, Next} = shuffled(Timers, Random),
        Rounds = Operations div ?BATCH,
        {_, Warm} = rounds(Table, Order, 0, Rounds div 10, Cancel, Next, {0, 0}),
        {Elapsed, _} = rounds(Table, Order, Rounds div 10 * ?BATCH, Rounds, Cancel, Warm, {0, 0}),
        Parent ! {elapsed, Elapsed}
    end, [link | Options]),
    receive {elapsed, Elapsed} -> Elapsed end.

fill(_, Timers, Timers, Random) -> Random;
fill(Table, Index, Timers, Random) ->
    Next = next(Random),
    ets:insert(Table, {Index, start_one(delay(Next))}),
    fill(Table, Index + 1, Timers, Next).

%% A random order of all timers, in an array that is not on any heap.
shuffled(Timers, Random) ->
    Order = atomics:new(Timers, []),
    [atomics:put(Order, Index, Index - 1) || Index <- lists:seq(1, Timers)],
    {Order, shuffle(Order, Timers, Random)}.

shuffle(_, 1, Random) -> Random;
shuffle(Order, Left, Random) ->
    Next = next(Random),
    Other = Next rem Left + 1,
    Here = atomics:get(Order, Left),
    atomics:put(Order, Left, atomics:get(Order, Other)),
    atomics:put(Order, Other, Here),
    shuffle(Order, Left - 1, Next).

rounds(_, _, _, 0, _, Random, Elapsed) -> {Elapsed, Random};
rounds(Table, Order, At, Left, Cancel, Random, {CancelNs, StartNs}) ->
    #{size := Size} = atomics:info(Order),
    Places = [atomics:get(Order, (At + K) rem Size + 1) || K <- lists:seq(0, ?BATCH - 1)],
    Victims = [ets:lookup_element(Table, Place, 2) || Place <- Places],
    {Delays, Next} = lists:mapfoldl(fun(_, State) -> N = next(State), {delay(N), N} end, Random, Places),
    Begin = now_ns(),
    Cancel(Victims),
    Between = now_ns(),
    Started = start_each(Delays),
    End = now_ns(),
    lists:foreach(fun({Place, Timer}) -> ets:insert(Table, {Place, Timer}) end, lists:zip(Places, Started)),
    rounds(Table, Order, At + ?BATCH, Left - 1, Cancel, Next, {CancelNs + Between - Begin, StartNs + End - Between}).

cancel_each([Timer | Timers]) ->
    true = is_integer(erlang:cancel_timer(Timer)),
    cancel_each(Timers);
cancel_each([]) -> ok.

cancel_each_async([Timer | Timers]) ->
    ok = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    cancel_each_async(Timers);
cancel_each_async([]) -> ok.

start_each([Delay | Delays]) -> [start_one(Delay) | start_each(Delays)];
start_each([]) -> [].

start_one(Delay) -> erlang:send_after(Delay, self(), bell).

%% One to ten minutes: none fires during a run.
delay(Random) -> 60000 + Random rem 540000.

%% The minimal standard generator.
next(Random) -> Random * 48271 rem 2147483647.

%% --- processes that never rest ---------------------------------------------------------------------------------------

restless(Heard, Index) ->
    receive tick ->
        counters:add(Heard, Index, 1),
        self() ! tick,
        restless(Heard, Index)
    end.

start_restless(Cells) ->
    Heard = counters:new(Cells, [write_concurrency]),
    [spawn(?MODULE, restless, [Heard, Index]) ! tick || Index <- lists:seq(1, Cells)],
    Heard.

%% Asked by a process of high priority, so that only the one that answers waits for its turn. Whoever does not answer in time
%% counts with that time.
fair(Cells, Milliseconds) ->
    process_flag(priority, high),
    {ok, Server} = gen_server:start(peer_child, awake, []),
    start_restless(Cells),
    settle(),
    ask_until(Server, now_ns() + Milliseconds * 1000000, now_ns(), []).

ask_until(Server, Stop, Due, Latencies) ->
    Begin = now_ns(),
    try 42 = gen_server:call(Server, question, 20000) catch exit:{timeout, _} -> late end,
    End = now_ns(),
    Recorded = lists:seq(End - Begin, 1, -?INTERVAL_NS) ++ Latencies,
    Next = max(Due + ?INTERVAL_NS, End),
    case End >= Stop of
        true -> Recorded;
        false ->
            receive after max(0, Next - now_ns()) div 1000000 -> ok end,
            ask_until(Server, Stop, Next, Recorded)
    end.

starved(Cells, Milliseconds) ->
    process_flag(priority, high),
    Heard = start_restless(Cells),
    settle(),
    Before = [counters:get(Heard, Index) || Index <- lists:seq(1, Cells)],
    receive after Milliseconds -> ok end,
    length([1 || {Index, Count} <- lists:zip(lists:seq(1, Cells), Before), counters:get(Heard, Index) =:= Count]).

%% --- processes that never return -------------------------------------------------------------------------------------

spinner_throughput(Cells, Milliseconds) ->
    process_flag(priority, high),
    Heard = start_restless(Cells),
    Stop = atomics:new(1, []),
    settle(),
    Undisturbed = rate(Heard, Cells, Milliseconds),
    [spawn_opt(fun() -> spin(Stop) end, [{scheduler, Scheduler}]) ||
        Scheduler <- lists:seq(1, erlang:system_info(schedulers_online))],
    settle(),
    BesideSpinners = rate(Heard, Cells, Milliseconds),
    atomics:put(Stop, 1, 1),
    100 * BesideSpinners / Undisturbed.

spin(Stop) ->
    case atomics:get(Stop, 1) of
        0 -> spin(Stop);
        _ -> ok
    end.

rate(Heard, Cells, Milliseconds) ->
    Before = heard_by_all(Heard, Cells),
    Begin = now_ns(),
    receive after Milliseconds -> ok end,
    (heard_by_all(Heard, Cells) - Before) / (now_ns() - Begin).

heard_by_all(Heard, Cells) -> lists:sum([counters:get(Heard, Index) || Index <- lists:seq(1, Cells)]).

%% --- small things ----------------------------------------------------------------------------------------------------

now_ns() -> erlang:monotonic_time(nanosecond).

settle() -> receive after 500 -> ok end.

%% The value that Percent of the samples do not exceed.
percentile(Samples, Percent) ->
    lists:nth(max(1, (length(Samples) * Percent + 99) div 100), lists:sort(Samples)).

option(Name, Shape, Default) -> peer_scenarios:option(Name, Shape, Default).
