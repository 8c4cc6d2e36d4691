%% A simple_one_for_one supervisor of gen_servers: OTP's own shape for many children of one kind.
-module(peer_sup).
-behaviour(supervisor).
-export([start_link/1, init/1]).

start_link(ChildArguments) -> supervisor:start_link(?MODULE, ChildArguments).

init(ChildArguments) ->
    {ok, {#{strategy => simple_one_for_one, intensity => 3, period => 5},
          [#{id => child, start => {peer_child, start_link, ChildArguments},
             restart => permanent, shutdown => 5000}]}}.
