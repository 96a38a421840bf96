-- The schema `analytics` as it is: what db/migrations and db/functions make, read from databases of
-- both flavours. For reading, and for comparing databases with; no server takes it as it stands.
--
-- What a function does stands in db/functions/NAME.sql, or in the folder of its flavour there. In the
-- place of its text stands `as body` with the beginning of the SHA-256 sum of the text.
--
-- `UPDATE_SCHEMA=1 cargo nextest run -p db the_page_of_the_schema` writes this file anew.

-- ==== In both flavours ====

create type analytics.event_kind
    as enum ('click', 'impression');

-- How often access_tokens was changed. Zero says that there never was a token. It never goes back,
-- so that whoever revokes or deletes the last token does not open the service to everybody.
create table analytics.access_changes (
    singleton boolean not null default true,
    changes bigint not null default 0,
    constraint access_changes_pkey PRIMARY KEY (singleton),
    constraint access_changes_singleton_check CHECK (singleton)
);

-- Tokens that let clients in. Daemons read them by functions that run with the rights of their
-- owner: a daemon's login reads nothing of tokens but what it must know.
create table analytics.access_tokens (
    -- What a token says of itself before its secret.
    id text collate "C" not null,
    name text not null,
    scopes text[] not null,
    -- The SHA-256 sum of the secret, from which the secret cannot be found: it has 256 random bits.
    -- Null for a public key, which stands in web pages and has no secret: it lets only its origins
    -- write.
    secret_hash bytea,
    origins text[] not null default '{}'::text[],
    -- The sites that it is for, and no other. Null: a token is for all, a public key for the site
    -- without a name.
    site_ids integer[],
    -- Whether it stands in a link to the page of its one site. Daemons take such tokens only where
    -- --share-links is set.
    is_share boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    -- Null: never.
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint access_tokens_admin CHECK (((site_ids IS NULL) OR (NOT (scopes @>
        ARRAY['admin'::text])))),
    constraint access_tokens_id_check CHECK ((id ~ '^[0-9a-f]{12}$'::text)),
    constraint access_tokens_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <=
        100))),
    constraint access_tokens_pkey PRIMARY KEY (id),
    constraint access_tokens_public CHECK ((((secret_hash IS NULL) AND (scopes =
        ARRAY['write'::text]) AND (cardinality(origins) > 0)) OR ((secret_hash IS NOT NULL) AND
        (cardinality(origins) = 0)))),
    constraint access_tokens_scopes_check CHECK (((cardinality(scopes) > 0) AND (scopes <@
        ARRAY['write'::text, 'read'::text, 'admin'::text]))),
    constraint access_tokens_secret_hash_check CHECK ((octet_length(secret_hash) = 32)),
    constraint access_tokens_share CHECK (((NOT is_share) OR ((scopes = ARRAY['read'::text]) AND
        (cardinality(site_ids) = 1) AND (secret_hash IS NOT NULL)))),
    constraint access_tokens_site_ids_check CHECK ((cardinality(site_ids) > 0))
);
create index analytics.access_tokens_name
    unique on analytics.access_tokens USING btree (name) WHERE (revoked_at IS NULL);
create trigger access_changed on analytics.access_tokens
    AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION
        analytics.count_access_change();

-- Each UTC day of a site that has, or had, a settled hour, and who was seen in its settled hours
-- together, so that a long range is read as days.
create table analytics.day_visitors (
    site integer not null default 0,
    day timestamptz not null,
    -- How often the settled hours of the day changed. Whoever unites them writes the union only if
    -- none changed meanwhile.
    changes bigint not null default 0,
    -- The union of settled_hours.visitors of the day. Null: not made since an hour of the day was
    -- settled or opened.
    visitors bytea,
    constraint day_visitors_pkey PRIMARY KEY (site, day)
);
create index analytics.day_visitors_to_unite
    on analytics.day_visitors USING btree (day, site) WHERE (visitors IS NULL);

-- The idempotency keys under which events of an hour of a site were stored. They live as long as
-- the raw events do, whether the hour is open or settled.
create table analytics.event_keys (
    hour timestamptz not null,
    site integer not null default 0,
    key text collate "C" not null,
    -- Tells a repetition from another request under the same key.
    fingerprint bytea not null,
    constraint event_keys_pkey PRIMARY KEY (hour, site, key)
);

-- The counters of each open hour of each site, one row for each writer that wrote in it, so that
-- replicas never wait for one another. An hour of a site is open while it has rows here.
create table analytics.hour_counts (
    hour timestamptz not null,
    site integer not null default 0,
    writer bigint not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    written_at timestamptz not null,
    -- True in a second row of the writer, to which it adds while old versions of rows cannot be
    -- removed: see functions/later_part.sql. The counts of both rows add up.
    is_later boolean not null default false,
    -- Whether the writer has such a row.
    has_later boolean not null default false,
    -- Gives a later row another key with every 256 batches of its writer, so that it is found
    -- without passing more old versions than that.
    part integer not null default 0,
    constraint hour_counts_pkey PRIMARY KEY (hour, site, is_later, writer, part)
);

-- Who was seen in each open hour of each site. A row that goes in is a user counted; a row that was
-- there already is not counted again.
create table analytics.hour_users (
    hour timestamptz not null,
    user_name text collate "C" not null,
    site integer not null default 0,
    constraint hour_users_pkey PRIMARY KEY (hour, user_name, site)
);

-- Batches that daemons knew to be committed, and that the database did not have any more: a standby
-- that lagged behind was promoted, or a backup was restored under them.
create table analytics.losses (
    noticed_at timestamptz not null default now(),
    writer bigint not null,
    batches bigint not null,
    events bigint not null
);

-- The functions and views that this schema has, which `migrate up` writes: one row.
create table analytics.schema_functions (
    singleton boolean not null default true,
    -- The version of the set. A program that holds an older one leaves the set as it is.
    version integer not null,
    -- The version of the set that a program must hold to run on this one.
    oldest_compatible integer not null,
    -- The SHA-256 sum of all statements of the set.
    checksum bytea not null,
    -- What the set made. `migrate up` drops those that are no longer in the set, and nothing else.
    objects text[] not null,
    applied_at timestamptz not null,
    constraint schema_functions_pkey PRIMARY KEY (singleton),
    constraint schema_functions_singleton_check CHECK (singleton)
);

create table analytics.schema_history (
    version integer not null,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255),
    constraint schema_history_pkey PRIMARY KEY (version)
);

-- What holds for the whole installation: one row, which the first migration of the flavour writes.
create table analytics.settings (
    singleton boolean not null default true,
    -- Which half of the migrations and functions this schema has; chosen once, by what the server
    -- offers.
    flavour text not null,
    -- The migration that a program must know to run on this schema. A migration that a running
    -- daemon of the version before could not bear raises it.
    oldest_compatible integer not null default 1,
    -- Whether owners and rights are those of the roles; false: everything belongs to the owner of
    -- the schema, whose login the daemons use too.
    uses_roles boolean not null default true,
    -- Raw events older than this are deleted; the counts of their hours stay. Null: raw events are
    -- kept for ever.
    retention interval,
    -- Raw events before this instant are gone, so an event before it can no longer be counted
    -- exactly and is refused.
    accepts_from timestamptz not null default '1970-01-01 00:00:00+00'::timestamptz,
    -- No event before this instant is taken, and its raw events are due to be deleted (see
    -- functions/advance_retention.sql).
    due_before timestamptz not null default '1970-01-01 00:00:00+00'::timestamptz,
    -- What the clock of the database showed when due_before was moved; null: not known.
    due_by_database timestamptz,
    -- What the clock of the daemon showed when due_before was moved; null: not known.
    due_by_daemon timestamptz,
    -- Names of visitors without a script are derived with this (see GET /analytics.gif): every
    -- replica gives the same visitor the same name, and whoever does not have the salt cannot find
    -- out whose name it is.
    visitor_salt text not null default replace(((gen_random_uuid())::text ||
        (gen_random_uuid())::text), '-'::text, ''::text),
    -- The counter that the database is of: the same in each of its databases, and in no other.
    -- Null: the database was not given to one yet.
    counter uuid,
    -- Which of the databases of the counter this is, from 0.
    shard integer not null default 0,
    -- How many databases the counter has. It never changes.
    shards integer not null default 1,
    -- Whether every database of the counter has its number. From then on a new database is not
    -- given to the counter.
    is_founded boolean not null default false,
    -- The servers that the database is used on, each as HOST:PORT, or FOLDER:PORT of a socket, as
    -- in the URLs that lead to it. A copy of it elsewhere is refused. Null: it is used wherever it
    -- is.
    lives_at text[],
    constraint settings_check CHECK (((shard >= 0) AND (shard <= (shards - 1)))),
    constraint settings_flavour_check CHECK ((flavour = ANY (ARRAY['timescale'::text,
        'postgres'::text]))),
    constraint settings_lives_at_check CHECK ((cardinality(lives_at) > 0)),
    constraint settings_pkey PRIMARY KEY (singleton),
    constraint settings_retention_check CHECK (((retention >= '1 day'::interval) AND (retention <=
        '1000 years'::interval))),
    constraint settings_shards_check CHECK (((shards >= 1) AND (shards <= 256))),
    constraint settings_singleton_check CHECK (singleton)
);

-- The counts of each hour of each site that was settled, written down once the aggregate of its raw
-- events equalled its counters. One without a row here is open, or has no event at all.
create table analytics.settled_hours (
    site integer not null default 0,
    hour timestamptz not null,
    settled_at timestamptz not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    -- Since when it is known that raw events of the hour are missing, so that it takes no more
    -- events. Null: not known.
    events_missing_since timestamptz,
    -- Who was seen, as a set of the numbers of visitors: a Roaring bitmap in its portable format,
    -- without runs. Null: not known, as of an hour that was settled before such sets were kept.
    visitors bytea,
    constraint settled_hours_pkey PRIMARY KEY (site, hour)
);
create index analytics.settled_hours_by_hour
    on analytics.settled_hours USING btree (hour);
create index analytics.settled_hours_with_events_missing
    on analytics.settled_hours USING btree (hour, site) WHERE (events_missing_since IS NOT NULL);

-- How often sites was changed, so that daemons need not read it each time they ask.
create table analytics.site_changes (
    singleton boolean not null default true,
    changes bigint not null default 0,
    constraint site_changes_pkey PRIMARY KEY (singleton),
    constraint site_changes_singleton_check CHECK (singleton)
);

-- Each site is a counter of its own. Rows stay for ever, so that no number is given twice.
create table analytics.sites (
    id integer not null generated always as identity,
    name text collate "C" not null,
    created_at timestamptz not null default clock_timestamp(),
    -- Since when it takes no events. Its counts are read as before.
    archived_at timestamptz,
    -- Since when it is hidden and takes no events (see functions/delete_site.sql).
    deleted_at timestamptz,
    -- The last day of which everything is deleted that was stored of a deleted site (see
    -- functions/forget_deleted_sites.sql); null: none yet.
    forgotten_to timestamptz,
    -- When the last of it was deleted.
    forgotten_at timestamptz,
    constraint sites_id_check CHECK ((id > 0)),
    constraint sites_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text)),
    constraint sites_pkey PRIMARY KEY (id)
);
create index analytics.sites_deleted
    on analytics.sites USING btree (id) WHERE (deleted_at IS NOT NULL);
create index analytics.sites_name
    unique on analytics.sites USING btree (name) WHERE (deleted_at IS NULL);
create trigger site_changed on analytics.sites
    AFTER INSERT OR DELETE OR UPDATE OF name, archived_at, deleted_at OR TRUNCATE FOR EACH STATEMENT
        EXECUTE FUNCTION analytics.count_site_change();

create sequence analytics.sites_id_seq
    ;

-- How far each ordered source of events is stored: a file, a partition of a topic, a daemon's
-- spool. Written in the transaction of the events, so that each event of a source is stored exactly
-- once.
create table analytics.sources (
    -- The site for which the source was sent. Its events may be of others too.
    site integer not null default 0,
    name text collate "C" not null,
    -- Everything before it is stored: bytes, offsets, numbers of records; the sender decides which.
    "position" bigint not null,
    -- What the sender derived from the content up to the position. Another source under the same
    -- name has another one, and is refused.
    digest bytea,
    advanced_at timestamptz not null default now(),
    constraint sources_pkey PRIMARY KEY (site, name)
);

-- The number of each visitor of a site, in sets of visitors. Given when the first hour of the
-- visitor is settled (see functions/number_visitors.sql).
create table analytics.visitors (
    site integer not null default 0,
    -- Dense, from 0, so that sets are small.
    number integer not null,
    -- Null once the visitor was forgotten: the number stays in sets, where it is counted, and names
    -- nobody.
    name text collate "C",
    constraint visitors_pkey PRIMARY KEY (site, number)
);
create index analytics.visitors_name
    unique on analytics.visitors USING btree (site, name) INCLUDE (number);

-- One row for each lane of each running daemon.
create table analytics.writers (
    -- Drawn at random (see functions/register_writer.sql).
    id bigint not null,
    -- The number of the writer's last batch, written in the transaction of the batch: a daemon
    -- whose connection died during the commit can find out whether the batch was stored (see
    -- functions/fence_writer.sql).
    last_batch bigint not null default 0,
    -- A fenced writer stores nothing any more.
    fenced boolean not null default false,
    written_at timestamptz not null default now(),
    batch_at_last_look bigint not null default 0,
    -- How often a writer was looked at without having stored anything since the last look (see
    -- functions/forget_idle_writers.sql).
    idle_looks integer not null default 0,
    -- The page of the table on which the row was when it got its key; null: it still has the first.
    page bigint,
    -- Whether it was on another page one key earlier: its old versions cannot be removed, because a
    -- session holds a snapshot, and fill page after page.
    is_crowded boolean not null default false,
    -- Is last_batch / 256. So the row gets another key with every 256 batches, and who knows the
    -- last batch finds it without passing more old versions than that.
    part bigint not null default 0,
    constraint writers_pkey PRIMARY KEY (id, part)
);

create view analytics.hourly (
    hour timestamptz,
    unique_users bigint,
    clicks bigint,
    impressions bigint,
    site text collate "C"
) as body 1edd0cb9003902cc;

create function analytics.access_changes()
    returns bigint language sql stable security definer set search_path=pg_catalog, pg_temp
        as body 2ad1fb42ea873a82;

create function analytics.advance_retention(daemon_clock timestamptz)
    returns timestamptz language plpgsql security definer set search_path=pg_catalog, pg_temp set
        lock_timeout=100ms set TimeZone=UTC as body a345778df7f38d20;

create function analytics.advance_sources(source_sites integer[], source_names text[],
        from_positions bigint[], from_digests bytea[], to_positions bigint[], to_digests bytea[],
        OUT moved bigint[], OUT positions bigint[], OUT digests bytea[])
    returns record language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body fc09f740710cf413;

create function analytics.advance_writer(writer bigint, after_batch bigint, batch bigint)
    returns void language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 51fc1642c3e11f69;

create function analytics.answer(hour timestamptz, site integer, OUT unique_users bigint,
        OUT clicks bigint, OUT impressions bigint)
    returns record language sql stable as body 19ae6b00ba8f5cac;

create function analytics.archive_site(name text, is_archived boolean, OUT id integer)
    returns integer language sql as body c4d18c654ee320f7;

create function analytics.audit(first_hour timestamptz, last_hour timestamptz, only_site integer)
    returns TABLE(hour timestamptz, site integer, is_verifiable boolean, is_open boolean,
        is_settled boolean, raw_users bigint, raw_clicks bigint, raw_impressions bigint,
        counted_users bigint, counted_clicks bigint, counted_impressions bigint,
        aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint,
        user_rows bigint, missing_users bigint, strange_users bigint, settled_users bigint,
        settled_clicks bigint, settled_impressions bigint, visitors_in_set bigint,
        is_closed boolean, foreign_users bigint) language plpgsql security definer
        set search_path=pg_catalog, pg_temp as body 6b727b0a0e6dbbf8;

create function analytics.audited_parts(earliest timestamptz, latest timestamptz)
    returns TABLE(first_hour timestamptz, last_hour timestamptz) language sql stable
        security definer set search_path=pg_catalog, pg_temp as body c948530679bbb111;

create function analytics.blocked(hours timestamptz[], sites integer[], OUT settled timestamptz[],
        OUT settled_sites integer[], OUT expired timestamptz[], OUT expired_sites integer[],
        OUT deleted integer[])
    returns record language sql stable as body 3c500cecd659985d;

create function analytics.change_day(hour timestamptz, sites integer[])
    returns void language sql as body a0cc3f80274b8b30;

create function analytics.confirm_retention(clock timestamptz)
    returns void language plpgsql set TimeZone=UTC as body 481cff05d5bd438d;

create function analytics.count_access_change()
    returns trigger language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 3b109e4e8a310952;

create function analytics.count_site_change()
    returns trigger language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body a97387d188a2d7fa;

create function analytics.counts(hours timestamptz[], sites integer[])
    returns TABLE(hour timestamptz, site integer, unique_users bigint, clicks bigint,
        impressions bigint) language sql stable as body 6171dfbc341b0647;

create function analytics.create_access_token(id text, name text, scopes text[], secret_hash bytea,
        origins text[], site_ids integer[], is_share boolean, expires_at timestamptz)
    returns boolean language plpgsql as body 919cb13c3ba6b8f6;

create function analytics.create_site(name text, most integer, OUT id integer)
    returns integer language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 8353e7b075087b16;

create function analytics.delete_site(name text, OUT id integer)
    returns integer language plpgsql set lock_timeout=100ms as body fdbee8afe4ae19fe;

create function analytics.fence_all_writers()
    returns void language sql as body e6b551bb159abbfa;

create function analytics.fence_writer(writer bigint)
    returns bigint language sql security definer set search_path=pg_catalog, pg_temp
        as body 1a2d199e6513e7bf;

create function analytics.fill_visitors(hour timestamptz, site integer, visitors bytea)
    returns boolean language plpgsql as body 46ae9511fe66ef82;

create function analytics.first_uncounted_hour(instant timestamptz)
    returns timestamptz language plpgsql as body 83975fe3dd359c0a;

create function analytics.forget(user_name text, site integer, hour timestamptz, OUT deleted bigint,
        OUT rebuilt boolean)
    returns record language plpgsql as body 44c1a17b71b4f783;

create function analytics.forget_deleted_sites()
    returns boolean language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body ed45a2fabec0fb06;

create function analytics.forget_expired_keys()
    returns void language sql security definer set search_path=pg_catalog, pg_temp
        as body fb3863f628b6bc81;

create function analytics.forget_idle_writers()
    returns void language sql security definer set search_path=pg_catalog, pg_temp
        as body b2945189584c93e1;

create function analytics.forget_visitor(user_name text, site integer)
    returns void language plpgsql as body ec7017de30ad6f16;

create function analytics.hour_number(hour timestamptz)
    returns integer language sql stable parallel safe as body 1ec64a14d6416938;

create function analytics.hours(first timestamptz, last timestamptz, site integer)
    returns TABLE(hour timestamptz, unique_users bigint, clicks bigint, impressions bigint,
        settled boolean) language sql stable as body 5e24300954942cca;

create function analytics.hours_of(user_name text, site integer, first_hour timestamptz,
        last_hour timestamptz)
    returns TABLE(hour timestamptz, events bigint) language plpgsql as body 8fc9c769e5c123c1;

create function analytics.ingest(writer bigint, after_batch bigint, batch bigint,
        times timestamptz[], sites integer[], users text[], clicks boolean[], hours timestamptz[],
        hour_sites integer[], hour_clicks bigint[], hour_impressions bigint[],
        seen_hours timestamptz[], seen_users text[], seen_sites integer[],
        OUT settled timestamptz[], OUT settled_sites integer[], OUT expired timestamptz[],
        OUT expired_sites integer[], OUT deleted integer[])
    returns record language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 78355631d8b3c344;

create function analytics.ingest_once(writer bigint, after_batch bigint, batch bigint,
        times timestamptz[], sites integer[], users text[], clicks boolean[], hours timestamptz[],
        hour_sites integer[], hour_clicks bigint[], hour_impressions bigint[],
        seen_hours timestamptz[], seen_users text[], seen_sites integer[], key_hours timestamptz[],
        key_sites integer[], keys text[], fingerprints bytea[], source_sites integer[],
        source_names text[], from_positions bigint[], from_digests bytea[], to_positions bigint[],
        to_digests bytea[], OUT settled timestamptz[], OUT settled_sites integer[],
        OUT expired timestamptz[], OUT expired_sites integer[], OUT deleted integer[],
        OUT repeated bigint[], OUT conflicting bigint[], OUT moved bigint[], OUT positions bigint[],
        OUT digests bytea[])
    returns record language plpgsql security definer set search_path=pg_catalog, pg_temp set
        enable_seqscan=off set jit=off as body 46a6d29d0d96d56e;

create function analytics.later_counts(hour timestamptz, site integer, writer bigint,
        OUT unique_users bigint, OUT clicks bigint, OUT impressions bigint)
    returns record language plpgsql stable security definer set search_path=pg_catalog, pg_temp set
        enable_seqscan=off set enable_bitmapscan=off as body 5b165f64e78f8bdf;

create function analytics.later_part(hour timestamptz, site integer, writer bigint)
    returns integer language plpgsql set enable_seqscan=off set enable_bitmapscan=off
        as body 8bd04f276b797b22;

create function analytics.list_access_tokens()
    returns TABLE(id text, name text, scopes text[], is_public boolean, origins text[],
        sites text[], is_share boolean, created_at timestamptz, expires_at timestamptz,
        revoked_at timestamptz) language sql stable as body 9715f9fc3bbe7d81;

create function analytics.list_sites()
    returns TABLE(id integer, name text, created_at timestamptz, archived_at timestamptz) language
        sql stable security definer set search_path=pg_catalog, pg_temp as body 53cd03485d433bb2;

create function analytics.live_access_tokens()
    returns TABLE(id text, scopes text[], secret_hash bytea, origins text[], site_ids integer[],
        is_share boolean, expires_at timestamptz) language sql stable security definer
        set search_path=pg_catalog, pg_temp as body 452198c599a2664a;

create function analytics.live_sites()
    returns TABLE(id integer, name text, is_archived boolean) language sql stable security definer
        set search_path=pg_catalog, pg_temp as body f1223a6eae997905;

create function analytics.lock_class(name text)
    returns integer language sql immutable parallel safe as body f8b0d691f4737e8d;

create function analytics.lock_for_rebuild(hour timestamptz)
    returns boolean language plpgsql as body 7d21d7afbfdf9a21;

create function analytics.look_for_old_versions(writer bigint, batch bigint)
    returns void language sql as body 7b64f4570f66f186;

create function analytics.note_loss(writer bigint, batches bigint, events bigint)
    returns void language sql security definer set search_path=pg_catalog, pg_temp
        as body dd31b39532194c41;

create function analytics.number_visitors(hour timestamptz, sites integer[], of_raw_events boolean)
    returns TABLE(site integer, numbers integer[], names bigint) language plpgsql security definer
        set search_path=pg_catalog, pg_temp set enable_hashjoin=off set enable_mergejoin=off
        as body 0ffb85611c09942e;

create function analytics.open_visitors(firsts timestamptz[], behinds timestamptz[], site integer)
    returns TABLE(period bigint, numbers integer[], unnumbered bigint) language sql stable
        security definer set search_path=pg_catalog, pg_temp as body a4688870efc87ac2;

create function analytics.period_counts(firsts timestamptz[], behinds timestamptz[], site integer)
    returns TABLE(period bigint, unique_users bigint, clicks bigint, impressions bigint,
        settled boolean) language sql stable as body c8265819925acbe0;

create function analytics.rebuild(hour timestamptz, sites integer[], least_users bigint[],
        least_clicks bigint[], least_impressions bigint[], writer bigint)
    returns SETOF integer language plpgsql as body d93391ff919cac87;

create function analytics.rebuild_to_at_least(hour timestamptz, site integer, writer bigint,
        least_users bigint, least_clicks bigint, least_impressions bigint)
    returns void language plpgsql as body 1b507d09ffef778b;

create function analytics.recover_sites(ids integer[], names text[], created timestamptz[],
        archived timestamptz[], deleted timestamptz[])
    returns void language plpgsql security definer set search_path=pg_catalog, pg_temp set
        lock_timeout=100ms as body d5792d4c63c0d38d;

create function analytics.refusals(hours timestamptz[], hour_sites integer[],
        key_hours timestamptz[], key_sites integer[], keys text[], fingerprints bytea[],
        source_site integer, source_name text, OUT expired timestamptz[],
        OUT expired_sites integer[], OUT deleted integer[], OUT conflicting bigint[],
        OUT repeated bigint, OUT stands_at bigint, OUT stands_digest bytea)
    returns record language sql stable security definer set search_path=pg_catalog, pg_temp
        as body 6a010e87f9896e2a;

create function analytics.refuse_deleted_site(site integer)
    returns void language plpgsql stable as body 4406a7fe21ead902;

create function analytics.register_writer()
    returns bigint language sql security definer set search_path=pg_catalog, pg_temp
        as body 149037728cdbf294;

create function analytics.rehearse(writer bigint, after_batch bigint, batch bigint, at timestamptz)
    returns void language plpgsql set search_path=pg_catalog, pg_temp as body 8f1b19c93bcfe1c8;

create function analytics.rename_site(name text, new_name text, OUT id integer)
    returns integer language sql as body f3343f5df3cae6fa;

create function analytics.reopen(hour timestamptz, sites integer[], writer bigint)
    returns void language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 830aaef6c56760c7;

create function analytics.repair(hour timestamptz, site integer, accepts_loss boolean)
    returns void language plpgsql as body ccbdfaede62ff0c4;

create function analytics.revoke_access_token(name_or_id text)
    returns TABLE(id text, name text) language sql as body 0ad4b87d48ff9067;

create function analytics.set_cardinality(visitors bytea)
    returns bigint language plpgsql immutable parallel safe strict as body a2cf242682cec26f;

create function analytics.settle(hour timestamptz, sites integer[], visitors bytea[],
        names bigint[])
    returns TABLE(site integer, is_settled boolean, visitors_in_set bigint, is_set_of_all boolean,
        counted_users bigint, counted_clicks bigint, counted_impressions bigint,
        aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint) language
        plpgsql security definer set search_path=pg_catalog, pg_temp as body d5fae6d7ffd38d47;

create function analytics.shard_of(user_name text, shards integer)
    returns integer language sql immutable parallel safe strict as body c206b82b70ab63c1;

create function analytics.site_changes()
    returns bigint language sql stable security definer set search_path=pg_catalog, pg_temp
        as body be5d6911041c9809;

create function analytics.sources_elsewhere(source_sites integer[], source_names text[],
        believed_positions bigint[], believed_digests bytea[], OUT moved bigint[],
        OUT positions bigint[], OUT digests bytea[])
    returns record language sql stable set search_path=pg_catalog, pg_temp as body 4f17c70f6ad11a57;

create function analytics.stored_hours(site integer)
    returns TABLE(first timestamptz, last timestamptz) language sql stable as body ef7da1a8d055edda;

create function analytics.take_retention(retention interval, due_before timestamptz)
    returns void language sql security definer set search_path=pg_catalog, pg_temp
        as body 7ee542539990d00e;

create function analytics.take_sites(ids integer[], names text[], created timestamptz[],
        archived timestamptz[], deleted timestamptz[], OUT others integer[])
    returns integer[] language plpgsql security definer set search_path=pg_catalog, pg_temp set
        lock_timeout=100ms as body f13e082b97c8ce52;

create function analytics.unite_day(site integer, day timestamptz, changes bigint, visitors bytea)
    returns boolean language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 8f2610286385d335;

create function analytics.visitor_sets(firsts timestamptz[], behinds timestamptz[], site integer)
    returns TABLE(period bigint, hour timestamptz, visitors bytea) language sql stable
        as body 6cb6e673c7d600e7;

-- ==== Only in the flavour timescale ====

-- Every event ever acknowledged, one row each: the truth that every count can be checked against.
-- One chunk a UTC day, made by make_room.
create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    site integer not null default 0,
    -- Compared byte by byte: two names are one user only if they are the same bytes, whatever the
    -- locale.
    user_name text collate "C" not null
);
create index analytics.events_at
    on analytics.events USING brin (at) WITH (pages_per_range='32', autosummarize='on');
create hypertable analytics.events
    by at, columnstore;

-- Chunks that the extension made, under names of its own: those of an insert by hand, or of another
-- length than a day. A row says where to look, and not that the chunk is still there. The
-- extension's own catalog would say that, but is another in each of its versions.
create table analytics.foreign_chunks (
    range_start timestamptz not null,
    range_end timestamptz not null,
    -- A name, as text: a dump can be loaded before the chunk is there.
    chunk text not null,
    constraint foreign_chunks_pkey PRIMARY KEY (range_start)
);

-- The counts of whole hours of each site, computed from the raw events by the extension: what an
-- hour's counters are compared with before it is settled.
create view analytics.events_hourly (
    hour timestamptz,
    site integer,
    unique_users bigint,
    clicks bigint,
    impressions bigint
);
create continuous aggregate analytics.events_hourly
    materialized only, SELECT time_bucket '01:00:00'::interval, at AS hour, site, count DISTINCT
        user_name AS unique_users, count * FILTER WHERE kind = 'click'::event_kind AS clicks, count
        * FILTER WHERE kind = 'impression'::event_kind AS impressions FROM events GROUP BY
        time_bucket '01:00:00'::interval, at , site;

create function analytics.chunk_of(hour timestamptz)
    returns text language sql stable as body 61dce10116804e5e;

create function analytics.columnstore_after()
    returns interval language sql stable as body 72114f4580dbdf78;

create procedure analytics.drop_events_before(IN instant timestamptz)
    language plpgsql security definer set search_path=pg_catalog, pg_temp as body 10d5d444280d2625;

create function analytics.event_days()
    returns SETOF timestamptz language sql stable as body a68d6592cbbcbdcc;

create function analytics.has_chunk(hour timestamptz)
    returns boolean language plpgsql stable as body a5531c5d32f73a9f;

create function analytics.has_room(hour timestamptz)
    returns boolean language sql stable as body 69485825e3d64bcf;

create function analytics.make_chunk(hour timestamptz)
    returns void language plpgsql as body 87f8a60ca6acd036;

create function analytics.make_room(hours timestamptz[])
    returns void language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body c26da46694c75630;

create function analytics.note_chunk(range_start timestamptz, range_end timestamptz, chunk text)
    returns void language sql as body c359de88b336b47a;

create procedure analytics.refresh_hour(IN hour timestamptz)
    language plpgsql as body 647d215700dd1f39;

create procedure analytics.set_columnstore_after(IN age interval)
    language plpgsql as body e583bd22d668ef20;

-- ==== Only in the flavour postgres ====

-- Every event ever acknowledged, one row each: the truth that every count can be checked against.
-- One partition a UTC day, made by make_room.
create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    site integer not null default 0,
    -- Compared byte by byte: two names are one user only if they are the same bytes, whatever the
    -- locale.
    user_name text collate "C" not null
) partition by RANGE (at);
create index analytics.events_at
    on analytics.events USING brin (at) WITH (pages_per_range='32', autosummarize='on');

-- The counts of whole hours of each site, computed from the raw events by the settler: what an
-- hour's counters are compared with before it is settled.
create table analytics.events_hourly (
    hour timestamptz not null,
    site integer not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    constraint events_hourly_pkey PRIMARY KEY (hour, site)
);

create function analytics.columnstore_after()
    returns interval language sql immutable as body 866a7ac5da50a41f;

create procedure analytics.drop_events_before(IN instant timestamptz)
    language plpgsql as body 422bbe31ccb7c42b;

create function analytics.drop_oldest_events_before(instant timestamptz)
    returns boolean language plpgsql security definer set search_path=pg_catalog, pg_temp set
        lock_timeout=100ms as body 9603b8f3a12cad95;

create function analytics.event_days()
    returns SETOF timestamptz language sql stable as body c8505c273cb89e1f;

create function analytics.has_room(hour timestamptz)
    returns boolean language sql stable as body d3a0b855ff954e08;

create function analytics.make_partition(hour timestamptz)
    returns void language plpgsql as body 98373f1c95a2522c;

create function analytics.make_room(hours timestamptz[])
    returns void language plpgsql security definer set search_path=pg_catalog, pg_temp
        as body 79328cfd153c3545;

create function analytics.partition_of(hour timestamptz)
    returns text language sql stable as body c240c12e1c1992f5;

create procedure analytics.refresh_hour(IN hour timestamptz)
    language plpgsql security definer set search_path=pg_catalog, pg_temp as body 573e5707df732093;

create procedure analytics.set_columnstore_after(IN age interval)
    language plpgsql as body dee13113fc8a85d9;
