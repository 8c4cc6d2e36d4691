%% The Erlang peer of the bench: one run of one scenario in a fresh emulator.
%%   run SCENARIO CELLS OPERATIONS     (the script beside this file picks the suite's module and the emulator flags)
%% prints "VALUE" lines of the form: value UNIT NUMBER. What each scenario does is defined once, for all peers, in
%% bench/README.md.
-module(karyon_peer).
-export([main/1]).

main([Scenarios, Scenario, Cells, Operations | Shape]) ->
    Runner = self(),
    %% A process of its own, so that its heap starts empty and its death is a failed run, not a hang.
    {_, Monitor} = spawn_monitor(fun() ->
        Module = list_to_atom(Scenarios),
        Runner ! {value, Module:run(list_to_atom(Scenario), list_to_integer(Cells), list_to_integer(Operations), Shape)}
    end),
    receive
        {value, {Unit, Value}} ->
            io:format("value ~s ~.3f~n", [Unit, float(Value)]),
            erlang:halt(0, [{flush, true}]);
        {'DOWN', Monitor, process, _, Reason} ->
            io:format(standard_error, "karyon_peer: ~s failed: ~p~n", [Scenario, Reason]),
            erlang:halt(1)
    end.
