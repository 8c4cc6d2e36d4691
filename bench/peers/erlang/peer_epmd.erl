%% Takes epmd's place for the two nodes of a run: the port at which the first one listens is handed to the second one on its
%% command line, so that no daemon is left behind and nothing is asked of one that others use.
-module(peer_epmd).
-export([start_link/0, register_node/3, port_please/2, port_please/3, names/1, listen_port_please/2, address_please/3, port/0]).

start_link() -> ignore.

register_node(_Name, Port, _Driver) ->
    persistent_term:put(?MODULE, Port),
    {ok, 1}.

%% Where this node listens.
port() -> persistent_term:get(?MODULE).

%% Any.
listen_port_please(_Name, _Host) -> {ok, 0}.

address_please(_Name, Host, Family) -> inet:getaddr(Host, Family).

port_please(Name, Host, _Timeout) -> port_please(Name, Host).

port_please(_Name, _Host) ->
    case init:get_argument(peer_port) of
        {ok, [[Port]]} -> {port, list_to_integer(Port), 6};
        _ -> noport
    end.

names(_Host) -> {error, address}.
