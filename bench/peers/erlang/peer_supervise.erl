%% The scenarios of the suite `supervise`, in the shape that is best for Erlang (bench/README.md says why each was chosen).
-module(peer_supervise).
-export([run/4]).

-define(BYSTANDER_INTERVAL_NS, 1000000).

run(Scenario, Cells, Operations, Shape) ->
    %% A supervisor reports each death that it mends, and formatting half a million reports is not what is measured.
    logger:set_primary_config(level, none),
    scenario(Scenario, Cells, Operations, Shape).

scenario(start, Cells, _, Shape) -> {ns, start(Cells, Shape) / Cells};
scenario(restart_one, Cells, Kills, Shape) -> {us, percentile(restart_one(Cells, Kills, Shape), 50) / 1000};
scenario(mass_restart, Cells, _, Shape) -> {ns, mass_restart(Cells, Shape) / Cells};
scenario(mass_stop, Cells, _, Shape) -> {ns, mass_stop(Cells, Shape) / Cells};
scenario(bystander, Cells, Rounds, Shape) -> {us, percentile(bystander(Cells, Rounds, Shape), 99) / 1000};
scenario(scaling_exponent, Cells, Rounds, Shape) ->
    [Small, Large] = [percentile(mass_restarts(Count, Rounds, Shape), 50) || Count <- [Cells div 5, Cells]],
    {exponent, math:log(Large / Small) / math:log(5)}.

%% The same supervisors and children as in the suite `cells`.
start(Cells, Shape) ->
    {Elapsed, _} = peer_scenarios:start_supervised(Cells, Shape, []),
    Elapsed.

mass_restart(Cells, Shape) ->
    Supervisors = start_flock(Cells, Shape),
    Old = pids_of(Supervisors),
    Elapsed = mass_restart_once(Supervisors, Cells, Shape),
    New = pids_of(Supervisors),
    Cells = length(New),
    0 = sets:size(sets:intersection(sets:from_list(Old, [{version, 2}]), sets:from_list(New, [{version, 2}]))),
    peer_gate:arm(Cells),
    [Pid ! signal || Pid <- New],
    peer_gate:await(),
    42 = gen_server:call(hd(New), question),
    Elapsed.

mass_restarts(Cells, Rounds, Shape) ->
    Supervisors = start_flock(Cells, Shape),
    Elapsed = [mass_restart_once(Supervisors, Cells, Shape) || _ <- lists:seq(1, Rounds)],
    stop_all(Supervisors),
    Elapsed.

mass_stop(Cells, Shape) ->
    Supervisors = start_flock(Cells, Shape),
    Before = erlang:system_info(process_count),
    Begin = now_ns(),
    stop_all(Supervisors),
    Elapsed = now_ns() - Begin,
    true = erlang:system_info(process_count) =< Before - Cells,
    Elapsed.

%% All at the same time: proc_lib:stop returns when its supervisor, and so all its children, have ended.
stop_all(Supervisors) ->
    Monitors = [begin
        {_, Monitor} = spawn_monitor(fun() -> ok = proc_lib:stop(Supervisor, shutdown, infinity) end),
        Monitor
    end || Supervisor <- Supervisors],
    [receive {'DOWN', Monitor, process, _, Reason} -> normal = Reason end || Monitor <- Monitors].

restart_one(Cells, Kills, Shape) ->
    Prober = self(),
    Count = max(1, Cells div option("children", Shape, 1000)),
    [{ok, _} = peer_phoenix_sup:start_link(kind(Shape), share(Cells, Count, Index), [Prober]) ||
        Index <- lists:seq(1, Count)],
    Victims = [receive {risen, Pid} -> Pid end || _ <- lists:seq(1, Cells)],
    {_, Warm} = probe(Kills div 10, Victims, [], []),
    {Elapsed, _} = probe(Kills, Warm, [], []),
    Elapsed.

%% Kills one child after the other, and asks the new incarnation as soon as it hears of it.
probe(0, Victims, Risen, Elapsed) -> {Elapsed, Victims ++ lists:reverse(Risen)};
probe(Left, [], Risen, Elapsed) -> probe(Left, lists:reverse(Risen), [], Elapsed);
probe(Left, [Victim | Victims], Risen, Elapsed) ->
    Begin = now_ns(),
    exit(Victim, kill),
    receive {risen, Pid} ->
        42 = gen_server:call(Pid, question),
        probe(Left - 1, Victims, [Pid | Risen], [now_ns() - Begin | Elapsed])
    end.

%% --- a bystander ---------------------------------------------------------------------------------------------------

bystander(Cells, Rounds, Shape) ->
    Supervisors = start_flock(Cells, Shape),
    {ok, Bystander} = gen_server:start(peer_child, awake, []),
    Priority = case option("high", Shape, 0) of 0 -> normal; _ -> high end,
    lists:append([bystander_round(Supervisors, Cells, Bystander, Priority, Shape) || _ <- lists:seq(1, Rounds)]).

bystander_round(Supervisors, Cells, Bystander, Priority, Shape) ->
    Parent = self(),
    Asker = spawn_opt(fun() ->
        receive begin_asking -> Parent ! {latencies, ask_bystander(Bystander, now_ns(), [])} end
    end, [link, {priority, Priority}]),
    mass_restart_once(Supervisors, Cells, Shape, fun() -> Asker ! begin_asking end),
    Asker ! stop,
    receive {latencies, Latencies} -> Latencies end.

%% Once a millisecond. An answer that takes longer keeps the asks that were due in the meantime from being made: they count
%% with what they would have had to wait.
ask_bystander(Bystander, Due, Latencies) ->
    Begin = now_ns(),
    42 = gen_server:call(Bystander, question, infinity),
    End = now_ns(),
    Recorded = lists:seq(End - Begin, 1, -?BYSTANDER_INTERVAL_NS) ++ Latencies,
    Next = max(Due + ?BYSTANDER_INTERVAL_NS, End),
    receive
        stop -> Recorded
    after max(0, Next - now_ns()) div 1000000 ->
        ask_bystander(Bystander, Next, Recorded)
    end.

%% --- mass death ----------------------------------------------------------------------------------------------------

%% Supervisors of a thousand children each, filled by one starter a scheduler.
start_flock(Cells, Shape) ->
    Count = max(1, Cells div option("children", Shape, 1000)),
    peer_gate:arm(Cells),
    Lists = parallel(fun(Scheduler, Schedulers) ->
        [begin
            {ok, Supervisor} = peer_phoenix_sup:start_link(kind(Shape), share(Cells, Count, Index), []),
            unlink(Supervisor),
            Supervisor
        end || Index <- lists:seq(Scheduler, Count, Schedulers)]
    end),
    peer_gate:await(),
    lists:append(Lists).

kind(Shape) -> case option("static", Shape, 0) of 0 -> dynamic; _ -> static end.

pids_of(Supervisors) ->
    [Pid || Supervisor <- Supervisors, {_, Pid, _, _} <- supervisor:which_children(Supervisor)].

mass_restart_once(Supervisors, Cells, Shape) -> mass_restart_once(Supervisors, Cells, Shape, fun() -> ok end).

%% Kills all and waits until all are back. The killers know their victims before the clock is read.
mass_restart_once(Supervisors, Cells, Shape, AtBegin) ->
    Killers = killers(Supervisors, option("killers", Shape, 1)),
    peer_gate:arm(Cells),
    AtBegin(),
    Begin = now_ns(),
    [Killer ! go || Killer <- Killers],
    peer_gate:await(),
    now_ns() - Begin.

killers(Supervisors, Count) ->
    Parent = self(),
    Killers = [begin
        Mine = every(Count, Index, Supervisors),
        spawn_link(fun() ->
            Pids = pids_of(Mine),
            Parent ! {ready, self()},
            receive go -> kill_all(Pids) end
        end)
    end || Index <- lists:seq(1, Count)],
    [receive {ready, Killer} -> ok end || Killer <- Killers],
    Killers.

kill_all([Pid | Pids]) -> exit(Pid, kill), kill_all(Pids);
kill_all([]) -> ok.

%% --- small things --------------------------------------------------------------------------------------------------

now_ns() -> erlang:monotonic_time(nanosecond).

%% The value that Percent of the samples do not exceed.
percentile(Samples, Percent) ->
    lists:nth(max(1, (length(Samples) * Percent + 99) div 100), lists:sort(Samples)).

every(Step, First, List) ->
    [Element || {Index, Element} <- lists:zip(lists:seq(1, length(List)), List), (Index - First) rem Step =:= 0].

parallel(Work) ->
    Schedulers = erlang:system_info(schedulers_online),
    peer_scenarios:parallel(Schedulers, fun(Index) -> Work(Index, Schedulers) end).

share(Total, Parts, Index) -> peer_scenarios:share(Total, Parts, Index).

option(Name, Shape, Default) -> peer_scenarios:option(Name, Shape, Default).
