%% The supervised child of the suite `supervise`: a plain gen_server that handles one signal when it comes to life, which it
%% sends itself while it is initialised.
-module(peer_phoenix).
-behaviour(gen_server).
-export([start_link/0, start_link/1, init/1, handle_call/3, handle_cast/2, handle_info/2]).

start_link() -> gen_server:start_link(?MODULE, signal, []).

%% A child that announces each of its incarnations to a prober instead.
start_link(Prober) -> gen_server:start_link(?MODULE, {announce, Prober}, []).

init(signal) ->
    self() ! signal,
    {ok, []};
init({announce, Prober}) ->
    Prober ! {risen, self()},
    {ok, []}.

handle_call(question, _From, State) -> {reply, 42, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info(signal, State) ->
    peer_gate:arrive(),
    {noreply, State}.
