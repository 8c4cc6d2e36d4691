%% Supervisors that do not give up, of both of OTP's kinds for many alike children: dynamic ones, filled by whoever starts
%% children, and such as start theirs themselves.
-module(peer_phoenix_sup).
-behaviour(supervisor).
-export([start_link/3, init/1]).

start_link(Kind, Children, Arguments) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, {Kind, Children, Arguments}),
    start_children(Kind, Supervisor, Children),
    {ok, Supervisor}.

start_children(static, _, _) -> ok;
start_children(dynamic, _, 0) -> ok;
start_children(dynamic, Supervisor, Left) ->
    {ok, _} = supervisor:start_child(Supervisor, []),
    start_children(dynamic, Supervisor, Left - 1).

init({Kind, Children, Arguments}) ->
    Flags = #{intensity => 1000000000, period => 1},
    case Kind of
        dynamic -> {ok, {Flags#{strategy => simple_one_for_one}, [child(dynamic, Arguments)]}};
        static -> {ok, {Flags#{strategy => one_for_one}, [child(Id, Arguments) || Id <- lists:seq(1, Children)]}}
    end.

child(Id, Arguments) ->
    #{id => Id, start => {peer_phoenix, start_link, Arguments}, restart => permanent, shutdown => 5000}.
