%% The scenarios of the suite `discover`: OTP's pg for groups, its local process registry for names (bench/README.md).
-module(peer_discover).
-export([run/4]).

-define(SCOPE, bench).

run(Scenario, Cells, Operations, Shape) ->
    {ok, _} = pg:start_link(?SCOPE),
    scenario(Scenario, Cells, Operations, lists:member("inside=1", Shape)).

scenario(join_one_group, Cells, _, Inside) ->
    Elapsed = join_all(start(Cells), 1, Inside),
    Cells = length(pg:get_members(?SCOPE, {group, 0})),
    {ns, Elapsed / Cells};
scenario(join_many, Cells, Groups, Inside) ->
    Elapsed = join_all(start(Cells), Groups, Inside),
    Groups = length(pg:which_groups(?SCOPE)),
    {ns, Elapsed / Cells};
scenario(register, Cells, _, Inside) ->
    Named = lists:zip(names(Cells), start(Cells)),
    peer_gate:arm(Cells),
    Begin = now_ns(),
    case Inside of
        true ->
            [Pid ! {take, Name} || {Name, Pid} <- Named],
            peer_gate:await();
        false ->
            [true = register(Name, Pid) || {Name, Pid} <- Named]
    end,
    {ns, (now_ns() - Begin) / Cells};
scenario(resolve, Cells, Operations, _) ->
    Names = names(Cells),
    [true = register(Name, Pid) || {Name, Pid} <- lists:zip(Names, start(Cells))],
    Table = list_to_tuple(Names),
    Begin = now_ns(),
    resolve(Operations, 1, Table, Cells),
    {ns, (now_ns() - Begin) / Operations};
scenario(group_send, Cells, Operations, _) ->
    %% All at once: how the group came about is not what is measured.
    ok = pg:join(?SCOPE, {group, 0}, start(Cells)),
    Elapsed = lists:sort([send_all(Cells) || _ <- lists:seq(1, Operations)]),
    {ns, lists:nth(Operations div 2 + 1, Elapsed) / Cells}.

send_all(Cells) ->
    peer_gate:arm(Cells),
    Begin = now_ns(),
    [Pid ! tick || Pid <- pg:get_local_members(?SCOPE, {group, 0})],
    peer_gate:await(),
    now_ns() - Begin.

join_all(Pids, Groups, Inside) ->
    Numbered = lists:zip(lists:seq(0, length(Pids) - 1), Pids),
    peer_gate:arm(length(Pids)),
    Begin = now_ns(),
    case Inside of
        true ->
            [Pid ! {join, {group, I rem Groups}} || {I, Pid} <- Numbered],
            peer_gate:await();
        false ->
            [ok = pg:join(?SCOPE, {group, I rem Groups}, Pid) || {I, Pid} <- Numbered]
    end,
    now_ns() - Begin.

resolve(0, _, _, _) -> ok;
resolve(Left, State, Table, Cells) ->
    Next = State * 48271 rem 2147483647,
    true = is_pid(whereis(element(Next rem Cells + 1, Table))),
    resolve(Left - 1, Next, Table, Cells).

names(Count) -> [list_to_atom("cell " ++ integer_to_list(I)) || I <- lists:seq(1, Count)].

start(Cells) -> [spawn(fun inhabitant/0) || _ <- lists:seq(1, Cells)].

inhabitant() ->
    receive
        tick ->
            peer_gate:arrive();
        {take, Name} ->
            true = register(Name, self()),
            peer_gate:arrive();
        {join, Group} ->
            ok = pg:join(?SCOPE, Group, self()),
            peer_gate:arrive()
    end,
    inhabitant().

now_ns() -> erlang:monotonic_time(nanosecond).
