%% The scenarios of the suite `matrix` in ETS tables: ordered_set, or set with set=1 (bench/README.md says why each shape).
-module(peer_matrix).
-export([run_all/3]).

-define(RANGE, 1000).
-define(SAMPLE, 65536).

%% One table for all scenarios, one after the other, `rounds` times over.
run_all(Asked, Keys, Shape) ->
    Table = table(Keys, Shape),
    [one(Scenario, Table, Keys, Operations, Shape)
     || _ <- lists:seq(1, option("rounds", Shape, 1)), {Scenario, Operations} <- Asked].

one(lookup, Table, Keys, Operations, Shape) -> {ns, operations(Table, Keys, Operations, Shape, 0)};
one(mixed, Table, Keys, Operations, Shape) -> {ns, operations(Table, Keys, Operations, Shape, 2)};
one(update, Table, Keys, Operations, Shape) -> {ns, operations(Table, Keys, Operations, Shape, 1)};
one(range, Table, Keys, Operations, Shape) -> {ns, ranges(Table, Keys, Operations, Shape)}.

operations(Table, Keys, Operations, Shape, OneIn) ->
    Threads = option("threads", Shape, 2),
    together(Table, Keys, Threads, Operations div 10, Shape, OneIn),
    together(Table, Keys, Threads, Operations, Shape, OneIn) / Operations.

table(Keys, Shape) ->
    Type = case option("set", Shape, 0) of 0 -> ordered_set; _ -> set end,
    Table = ets:new(matrix, [Type, public, {write_concurrency, true}, {read_concurrency, true}]),
    Step = case option("ordered", Shape, 0) of 0 -> step(Keys); _ -> 1 end,
    fill(Table, 0, 0, Step, Keys),
    Table.

step(Keys) -> coprime(trunc(Keys * 0.6180339887) bor 1, Keys).

coprime(Step, Keys) ->
    case gcd(Step, Keys) of
        1 -> Step;
        _ -> coprime(Step + 2, Keys)
    end.

gcd(A, 0) -> A;
gcd(A, B) -> gcd(B, A rem B).

fill(_, Keys, _, _, Keys) -> ok;
fill(Table, Index, Key, Step, Keys) ->
    ets:insert(Table, {Key, Key}),
    fill(Table, Index + 1, (Key + Step) rem Keys, Step, Keys).

%% Nanoseconds from the start of all processes to the end of the last.
together(Table, Keys, Threads, Operations, Shape, OneIn) ->
    Parent = self(),
    Share = Operations div Threads,
    Workers = [spawn_link(fun() ->
        Sample = sample(Keys, Shape, Thread),
        Parent ! {ready, self()},
        receive go -> ok end,
        operate(Table, Keys, Sample, Share, Thread * 7919 + 12345, OneIn),
        Parent ! {done, self()}
    end) || Thread <- lists:seq(1, Threads)],
    [receive {ready, Worker} -> ok end || Worker <- Workers],
    Begin = now_ns(),
    [Worker ! go || Worker <- Workers],
    [receive {done, Worker} -> ok end || Worker <- Workers],
    now_ns() - Begin.

operate(_, _, _, 0, _, _) -> ok;
operate(Table, Keys, Sample, Left, State, OneIn) ->
    Next = next(State),
    Key = key(Next, Keys, Sample),
    case OneIn =/= 0 andalso Left rem OneIn =:= 0 of
        true -> ets:insert(Table, {Key, Left});
        false -> [_] = ets:lookup(Table, Key)
    end,
    operate(Table, Keys, Sample, Left - 1, Next, OneIn).

%% One process reads ranges, the others write until it is done.
ranges(Table, Keys, Ranges, Shape) ->
    Writers = [spawn_link(fun() ->
        Sample = sample(Keys, Shape, Thread),
        write(Table, Keys, Sample, Thread * 7919 + 12345)
    end) || Thread <- lists:seq(2, option("threads", Shape, 2))],
    %% A range takes a hundred times as long as the others' do: a tenth of them, lest it take all the time there is.
    Measured = max(1, Ranges div 10),
    read(Table, Keys, Measured div 10, 77 * 7919 + 12345),
    Begin = now_ns(),
    read(Table, Keys, Measured, 77 * 7919 + 12345),
    Elapsed = now_ns() - Begin,
    [begin unlink(Writer), exit(Writer, kill) end || Writer <- Writers],
    Elapsed / Measured.

write(Table, Keys, Sample, State) ->
    Next = next(State),
    ets:insert(Table, {key(Next, Keys, Sample), Next}),
    write(Table, Keys, Sample, Next).

read(_, _, 0, _) -> ok;
read(Table, Keys, Left, State) ->
    Next = next(State),
    ?RANGE = length(walk(Table, Next * (Keys - ?RANGE) bsr 31)),
    read(Table, Keys, Left - 1, Next).

%% Key by key, so of as many moments as there are keys. A select would be of one moment, but looks at the whole table, for a
%% guard does not bound what is looked at.
walk(Table, From) -> walk(Table, From - 1, From + ?RANGE, []).

walk(Table, Before, End, Found) ->
    case ets:next(Table, Before) of
        Key when is_integer(Key), Key < End -> walk(Table, Key, End, ets:lookup(Table, Key) ++ Found);
        _ -> Found
    end.

key(Random, Keys, none) -> Random * Keys bsr 31;
key(Random, _, Sample) -> element(Random band (?SAMPLE - 1) + 1, Sample).

%% By Zipf's law with the exponent 0.99, as the other peers draw them.
sample(Keys, Shape, Thread) ->
    case option("zipf", Shape, 0) of
        0 -> none;
        _ ->
            Top = math:pow(Keys + 1, 0.01) - 1,
            {Sample, _} = lists:mapfoldl(fun(_, State) ->
                Next = next(State),
                Rank = trunc(math:pow(1 + Next / 2147483647 * Top, 100)) - 1,
                {min(Rank, Keys - 1) * 2654435761 rem Keys, Next}
            end, Thread * 104729 + 1, lists:seq(1, ?SAMPLE)),
            list_to_tuple(Sample)
    end.

%% The minimal standard generator.
next(Random) -> Random * 48271 rem 2147483647.

now_ns() -> erlang:monotonic_time(nanosecond).

option(Name, Shape, Default) -> peer_scenarios:option(Name, Shape, Default).
