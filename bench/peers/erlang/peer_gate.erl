%% Counts arrivals in one shared atomic and wakes the waiter at the last one: the counterpart of `gate` in the C++
%% drivers. It lives in a persistent term, so that no message and no process has to carry it.
-module(peer_gate).
-export([arm/1, arrive/0, await/0]).

%% Arming the gate anew must not replace the term: that makes the emulator scan every process, in the middle of a figure.
arm(Count) ->
    Self = self(),
    case persistent_term:get(?MODULE, none) of
        {Left, Self} ->
            atomics:put(Left, 1, Count);
        _ ->
            Left = atomics:new(1, [{signed, true}]),
            atomics:put(Left, 1, Count),
            persistent_term:put(?MODULE, {Left, Self})
    end.

arrive() ->
    {Left, Waiter} = persistent_term:get(?MODULE),
    case atomics:sub_get(Left, 1, 1) of
        0 -> Waiter ! all_arrived;
        _ -> ok
    end.

await() -> receive all_arrived -> ok end.
