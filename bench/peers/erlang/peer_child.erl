%% The supervised child: a plain gen_server, as an Erlang programmer writes one.
-module(peer_child).
-behaviour(gen_server).
-export([start_link/0, start_link/1, init/1, handle_call/3, handle_cast/2]).

start_link() -> gen_server:start_link(?MODULE, awake, []).
start_link(Idle) -> gen_server:start_link(?MODULE, Idle, []).

%% The state says whether the child hibernates after its signal (see bench/README.md, "Memory").
init(Idle) -> {ok, Idle}.

handle_call(question, _From, State) -> {reply, 42, State}.

handle_cast(signal, hibernate) ->
    peer_gate:arrive(),
    {noreply, hibernate, hibernate};
handle_cast(signal, State) ->
    peer_gate:arrive(),
    {noreply, State}.
