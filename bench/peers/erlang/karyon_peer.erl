%% The Erlang peer of the bench: one run of one scenario in a fresh emulator.
%%   run SCENARIO CELLS OPERATIONS     (the script beside this file picks the suite's module and the emulator flags)
%% prints "VALUE" lines of the form: value UNIT NUMBER. What each scenario does is defined once, for all peers, in
%% bench/README.md.
-module(karyon_peer).
-export([main/1]).

main([Scenarios, Scenario, Cells, Operations | Shape]) ->
    Runner = self(),
    %% Nothing to do until there is a figure; then at once, also among a million processes that never rest.
    process_flag(priority, high),
    %% A process of its own, so that its heap starts empty and its death is a failed run, not a hang.
    {_, Monitor} = spawn_monitor(fun() ->
        Runner ! {values, run(list_to_atom(Scenarios), Scenario, list_to_integer(Cells), Operations, Shape)}
    end),
    receive
        {values, Values} ->
            %% Not by io:format: the process behind it, and the one that would load its modules, have to wait for their turns.
            Output = open_port({fd, 1, 1}, [out]),
            [port_command(Output, ["value ", atom_to_list(Unit), " ", float_to_list(float(Value), [{decimals, 3}]), "\n"])
             || {Unit, Value} <- Values],
            erlang:halt(0, [{flush, true}]);
        {'DOWN', Monitor, process, _, Reason} ->
            io:format(standard_error, "karyon_peer: ~s failed: ~p~n", [Scenario, Reason]),
            erlang:halt(1)
    end.

%% Suites whose rows are measured together export run_all, and get SCENARIO+SCENARIO... and as many operations.
run(Module, Scenario, Cells, Operations, Shape) ->
    {module, Module} = code:ensure_loaded(Module),
    case erlang:function_exported(Module, run_all, 3) of
        true ->
            Asked = lists:zip([list_to_atom(S) || S <- string:lexemes(Scenario, "+")],
                              [list_to_integer(N) || N <- string:lexemes(Operations, "+")]),
            Module:run_all(Asked, Cells, Shape);
        false ->
            [Module:run(list_to_atom(Scenario), Cells, list_to_integer(Operations), Shape)]
    end.
