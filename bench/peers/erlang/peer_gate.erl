%% Counts arrivals in one shared atomic and wakes the waiter at the last one: the counterpart of `gate` in the C++
%% drivers. It lives in a persistent term, so that no message and no process has to carry it.
-module(peer_gate).
-export([arm/1, arrive/0, await/0]).

arm(Count) ->
    persistent_term:put(?MODULE, {atomics:new(1, [{signed, true}]), Count, self()}).

arrive() ->
    {Counter, Count, Waiter} = persistent_term:get(?MODULE),
    case atomics:add_get(Counter, 1, 1) of
        Count -> Waiter ! all_arrived;
        _ -> ok
    end.

await() -> receive all_arrived -> ok end.
