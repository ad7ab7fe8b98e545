BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE batches (
	source VARCHAR NOT NULL,
	batch VARCHAR NOT NULL,
	received_at BIGINT NOT NULL,
	CONSTRAINT pk_batches PRIMARY KEY (source, batch)
)
 WITHOUT ROWID

;
INSERT INTO "batches" VALUES('log','b1',1901149199999999);
CREATE TABLE bindings (
	credential VARCHAR NOT NULL,
	target VARCHAR NOT NULL,
	backend_id VARCHAR NOT NULL,
	serial INTEGER NOT NULL,
	CONSTRAINT pk_bindings PRIMARY KEY (credential, target, backend_id),
	CONSTRAINT fk_bindings_credential_credentials FOREIGN KEY(credential) REFERENCES credentials (name)
);
INSERT INTO "bindings" VALUES('full','north','7',1);
CREATE TABLE credentials (
	name VARCHAR NOT NULL,
	next_serial INTEGER NOT NULL,
	due_at BIGINT,
	rolled_back INTEGER NOT NULL,
	CONSTRAINT pk_credentials PRIMARY KEY (name)
);
INSERT INTO "credentials" VALUES('idle',3,1908925199999999,0);
INSERT INTO "credentials" VALUES('full',3,NULL,0);
INSERT INTO "credentials" VALUES('young',3,NULL,0);
INSERT INTO "credentials" VALUES('back',3,NULL,0);
INSERT INTO "credentials" VALUES('new',2,1901149199999999,0);
CREATE TABLE deliveries (
	number INTEGER NOT NULL,
	message VARCHAR NOT NULL,
	notifier VARCHAR NOT NULL,
	attempts INTEGER NOT NULL,
	retry_at BIGINT NOT NULL,
	closed_at BIGINT,
	error TEXT,
	waiting BOOLEAN NOT NULL,
	CONSTRAINT pk_deliveries PRIMARY KEY (number),
	CONSTRAINT fk_deliveries_message_messages FOREIGN KEY(message) REFERENCES messages (id)
);
INSERT INTO "deliveries" VALUES(1,'m-full','hook',0,0,NULL,NULL,1);
INSERT INTO "deliveries" VALUES(2,'m-full','mail',0,0,NULL,NULL,1);
CREATE TABLE detectors (
	rotation VARCHAR NOT NULL,
	state TEXT NOT NULL,
	CONSTRAINT pk_detectors PRIMARY KEY (rotation)
);
INSERT INTO "detectors" VALUES('full','{"e": 1.5}');
CREATE TABLE history (
	credential VARCHAR NOT NULL,
	number INTEGER NOT NULL,
	at BIGINT NOT NULL,
	rotation VARCHAR NOT NULL,
	phase VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	detail TEXT NOT NULL,
	evidence TEXT NOT NULL,
	"by" VARCHAR NOT NULL,
	digest VARCHAR NOT NULL,
	CONSTRAINT pk_history PRIMARY KEY (credential, number)
)
 WITHOUT ROWID

;
INSERT INTO "history" VALUES('back',1,1901149199999999,'back','introduce','transition','started','begun','{"evidence":{},"schema":1}','keyturn','230ece22de82fe175cd4433e59e9badb04037ed805b0a9926fe20af9957b51b9');
INSERT INTO "history" VALUES('full',1,1901149199999999,'full','introduce','transition','started','begun','{"evidence":{},"schema":1}','keyturn','722c277a5868c4cb7ad9982aa768265d4457af3c6f51992fc14105c6615f4bf8');
INSERT INTO "history" VALUES('full',2,1901149199999999,'full','retire','transition','started','everything','{"evidence":{"huge":{"float":"inf"},"names":["a","b"],"none":null},"schema":1}','keyturn','5f7ba2c912df38e1c7af1749a891456205df55eea97be75f2f503f3031c902c7');
INSERT INTO "history" VALUES('idle',1,1901149199999999,'ended','introduce','transition','started','begun','{"evidence":{},"schema":1}','keyturn','499f52d722162637486db768e2aae8fe7f7f1fb05a478caa44c105a99bc2b216');
INSERT INTO "history" VALUES('idle',2,1901149199999999,'ended','completed','transition','started','done','{"evidence":{"waited":3.5},"schema":1}','keyturn','bb7b1d709a9fe3c7deb723e19b344b97bdabc97b19d8a32213abc87e97cb2489');
INSERT INTO "history" VALUES('young',1,1901149199999999,'young','introduce','transition','started','begun','{"evidence":{},"schema":1}','keyturn','95b2a3bfba4e299029a5f3fb4ef2928be372af1c191ff2fc6d55eb1db0f4f401');
CREATE TABLE intents (
	effect VARCHAR NOT NULL,
	rotation VARCHAR NOT NULL,
	credential VARCHAR NOT NULL,
	attempts INTEGER NOT NULL,
	opened_at BIGINT NOT NULL,
	state VARCHAR NOT NULL,
	document TEXT NOT NULL,
	outcome TEXT,
	CONSTRAINT pk_intents PRIMARY KEY (effect),
	CONSTRAINT fk_intents_rotation_rotations FOREIGN KEY(rotation) REFERENCES rotations (id)
);
INSERT INTO "intents" VALUES('ended/1-overlap/promote/v2/north','ended','idle',1,1901149199999999,'succeeded','{"effect":{"expected":"7","id":"ended/1-overlap/promote/v2/north","kind":"promote","serial":2,"target":"north","verifiers":["gate-1","gate-2"]},"schema":1}','{"outcome":{"at":"2030-03-31T00:59:59.999999+00:00","failure":null,"fingerprint":null,"key_id":null,"message":"","retry_at":null,"state":"succeeded"},"schema":1}');
INSERT INTO "intents" VALUES('full/0-introduce/stage/v9','full','full',1,1901149199999999,'open','{"effect":{"expected":"7","id":"full/0-introduce/stage/v9","kind":"stage","serial":9,"target":"north","verifiers":["gate-1","gate-2"]},"schema":1}',NULL);
INSERT INTO "intents" VALUES('back/2-rollback/revoke/v2','back','back',1,1901149199999999,'failed','{"effect":{"expected":null,"id":"back/2-rollback/revoke/v2","kind":"revoke","serial":2,"target":null,"verifiers":["gate-1"]},"schema":1}','{"outcome":{"at":"2030-03-31T00:59:59.999999+00:00","failure":"transient","fingerprint":null,"key_id":null,"message":"no route to host","retry_at":"2030-03-31T01:00:00.999999+00:00","state":"failed"},"schema":1}');
CREATE TABLE leases (
	name VARCHAR NOT NULL,
	owner VARCHAR NOT NULL,
	token BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	CONSTRAINT pk_leases PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('table','a',1,1901149200999999);
CREATE TABLE messages (
	id VARCHAR NOT NULL,
	created_at BIGINT NOT NULL,
	document TEXT NOT NULL,
	CONSTRAINT pk_messages PRIMARY KEY (id)
);
INSERT INTO "messages" VALUES('m-full',1901149199999999,'{"message":{"details":[["phase","overlap"],["\u2603",""]],"id":"m-full","text":"it moves","topic":"rotation.phase"},"schema":1}');
CREATE TABLE rotations (
	number INTEGER NOT NULL,
	id VARCHAR NOT NULL,
	credential VARCHAR NOT NULL,
	revision INTEGER NOT NULL,
	live BOOLEAN NOT NULL,
	phase VARCHAR NOT NULL,
	document TEXT NOT NULL,
	CONSTRAINT pk_rotations PRIMARY KEY (number),
	CONSTRAINT fk_rotations_credential_credentials FOREIGN KEY(credential) REFERENCES credentials (name),
	CONSTRAINT uq_rotations_id UNIQUE (id)
);
INSERT INTO "rotations" VALUES(1,'ended','idle',2,0,'completed','{"rotation":{"cause":"started","credential":"idle","deadline_spent":false,"disabled_at":{},"entered":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"},"entry":0,"extensions":0,"first_entered":{"introduce":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"}},"force":null,"halted":null,"hold":null,"id":"ended","incoming":2,"outgoing":[1],"pause":null,"phase":"completed","policy":{"bake":600000000,"client_refresh":3600000000,"deadlines":{"destroy":{"after":3600000000,"owner":null,"policy":"hold"},"introduce":{"after":3600000000,"owner":null,"policy":"hold"},"monitor":{"after":5184000000000,"owner":null,"policy":"hold"},"overlap":{"after":604800000000,"owner":null,"policy":"hold"},"retire":{"after":5184000000000,"owner":null,"policy":"hold"},"rollback":{"after":604800000000,"owner":null,"policy":"hold"}},"drain":7200000000,"maximum_retreats":3,"minimum_overlap":7200000000,"page_every":900000000,"pool_lifetime":1800000000,"propagation":60000000,"retry_after":86400000000,"silence_few":1209600000000,"silence_floor":1296000000000,"silence_unseen":5184000000000,"soak":86400000000,"wave_size":1},"promised":[["north",2],["south",2]],"promoted":{},"proven":[],"reminded":0,"restoring":null,"retreats":0,"revision":2,"revoking":false,"rollback_asked":null,"soak":null,"started_at":"2030-03-31T00:59:59.999999+00:00","started_by":"schedule","stopped_for":0,"stopped_since":null,"targets":["north","south"],"up":[],"versions":{"1":{"compromised_at":null,"fingerprint":"0000000000000000000000000000000000000000000000000000000000000001","key_id":"idle-1","serial":1,"state":"destroyed"},"2":{"compromised_at":null,"fingerprint":null,"key_id":null,"serial":2,"state":"current"}}},"schema":1}');
INSERT INTO "rotations" VALUES(2,'full','full',1,1,'retire','{"rotation":{"cause":"soaked","credential":"full","deadline_spent":true,"disabled_at":{"1":"2030-03-31T00:59:59.999999+00:00","11":"2030-03-31T01:00:00.999999+00:00"},"entered":{"active":34560000000001,"at":"2031-05-05T01:00:00.000000+00:00"},"entry":4,"extensions":1,"first_entered":{"introduce":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"},"retire":{"active":34560000000001,"at":"2031-05-05T01:00:00.000000+00:00"}},"force":{"by":"Zo\u00eb","final":true,"serial":11,"why":"it is gone"},"halted":{"detail":"\"\u2603\"\n\u001f","latched":true,"pages":3,"reason":"effect_failed","since":"2030-03-31T00:59:59.999999+00:00"},"hold":{"detail":"\"\u2603\"\n\u001f","latched":true,"pages":3,"reason":"deadline","since":"2030-03-31T00:59:59.999999+00:00"},"id":"full","incoming":2,"outgoing":[11,1],"pause":{"by":"ops","until":"2030-03-31T00:59:59.999999+00:00","why":"lunch"},"phase":"retire","policy":{"bake":1,"client_refresh":3600000000,"deadlines":{"destroy":{"after":1000000,"owner":null,"policy":"hold"},"monitor":{"after":77760000000000,"owner":"Zo\u00eb","policy":"force"}},"drain":7200000000,"maximum_retreats":3,"minimum_overlap":7200000000,"page_every":900000000,"pool_lifetime":1800000000,"propagation":60000000,"retry_after":86400000000,"silence_few":1209600000000,"silence_floor":1296000000000,"silence_unseen":5184000000000,"soak":86400000000,"wave_size":1},"promised":[["north",2],["north",11],["south",2]],"promoted":{"north":{"active":34560000000001,"at":"2031-05-05T01:00:00.000000+00:00"},"south":{"active":34560000000001,"at":"2031-05-05T01:00:00.000000+00:00"}},"proven":[11,1],"reminded":9,"restoring":11,"retreats":2,"revision":1,"revoking":true,"rollback_asked":"ops: why not","soak":{"active":34560000000001,"at":"2031-05-05T01:00:00.000000+00:00"},"started_at":"2030-03-31T00:59:59.999999+00:00","started_by":"schedule","stopped_for":-999999,"stopped_since":"2030-03-31T00:59:59.999999+00:00","targets":["north","south"],"up":["gate-1","gate-2"],"versions":{"1":{"compromised_at":"2030-03-31T00:59:59.999999+00:00","fingerprint":"0000000000000000000000000000000000000000000000000000000000000001","key_id":"payments/api-key-1","serial":1,"state":"disabled"},"11":{"compromised_at":null,"fingerprint":null,"key_id":null,"serial":11,"state":"pending"},"2":{"compromised_at":null,"fingerprint":"0000000000000000000000000000000000000000000000000000000000000002","key_id":"payments/api-key-2","serial":2,"state":"current"}}},"schema":1}');
INSERT INTO "rotations" VALUES(3,'young','young',0,1,'introduce','{"rotation":{"cause":"started","credential":"young","deadline_spent":false,"disabled_at":{},"entered":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"},"entry":0,"extensions":0,"first_entered":{"introduce":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"}},"force":null,"halted":null,"hold":null,"id":"young","incoming":2,"outgoing":[1],"pause":null,"phase":"introduce","policy":{"bake":600000000,"client_refresh":3600000000,"deadlines":{"destroy":{"after":3600000000,"owner":null,"policy":"hold"},"introduce":{"after":3600000000,"owner":null,"policy":"hold"},"monitor":{"after":5184000000000,"owner":null,"policy":"hold"},"overlap":{"after":604800000000,"owner":null,"policy":"hold"},"retire":{"after":5184000000000,"owner":null,"policy":"hold"},"rollback":{"after":604800000000,"owner":null,"policy":"hold"}},"drain":7200000000,"maximum_retreats":3,"minimum_overlap":7200000000,"page_every":900000000,"pool_lifetime":1800000000,"propagation":60000000,"retry_after":86400000000,"silence_few":1209600000000,"silence_floor":1296000000000,"silence_unseen":5184000000000,"soak":86400000000,"wave_size":1},"promised":[],"promoted":{},"proven":[],"reminded":0,"restoring":null,"retreats":0,"revision":0,"revoking":false,"rollback_asked":null,"soak":null,"started_at":"2030-03-31T00:59:59.999999+00:00","started_by":"schedule","stopped_for":0,"stopped_since":null,"targets":["north","south"],"up":[],"versions":{"1":{"compromised_at":null,"fingerprint":"0000000000000000000000000000000000000000000000000000000000000001","key_id":"young-1","serial":1,"state":"current"},"2":{"compromised_at":null,"fingerprint":null,"key_id":null,"serial":2,"state":"pending"}}},"schema":1}');
INSERT INTO "rotations" VALUES(4,'back','back',1,1,'rollback','{"rotation":{"cause":"started","credential":"back","deadline_spent":false,"disabled_at":{},"entered":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"},"entry":2,"extensions":0,"first_entered":{"introduce":{"active":0,"at":"2030-03-31T00:59:59.999999+00:00"}},"force":null,"halted":null,"hold":null,"id":"back","incoming":2,"outgoing":[1],"pause":null,"phase":"rollback","policy":{"bake":600000000,"client_refresh":3600000000,"deadlines":{"destroy":{"after":3600000000,"owner":null,"policy":"hold"},"introduce":{"after":3600000000,"owner":null,"policy":"hold"},"monitor":{"after":5184000000000,"owner":null,"policy":"hold"},"overlap":{"after":604800000000,"owner":null,"policy":"hold"},"retire":{"after":5184000000000,"owner":null,"policy":"hold"},"rollback":{"after":604800000000,"owner":null,"policy":"hold"}},"drain":7200000000,"maximum_retreats":3,"minimum_overlap":7200000000,"page_every":900000000,"pool_lifetime":1800000000,"propagation":60000000,"retry_after":86400000000,"silence_few":1209600000000,"silence_floor":1296000000000,"silence_unseen":5184000000000,"soak":86400000000,"wave_size":1},"promised":[["north",2]],"promoted":{},"proven":[],"reminded":0,"restoring":1,"retreats":0,"revision":1,"revoking":false,"rollback_asked":null,"soak":null,"started_at":"2030-03-31T00:59:59.999999+00:00","started_by":"schedule","stopped_for":0,"stopped_since":null,"targets":["north","south"],"up":[],"versions":{"1":{"compromised_at":null,"fingerprint":"0000000000000000000000000000000000000000000000000000000000000001","key_id":"back-1","serial":1,"state":"current"},"2":{"compromised_at":null,"fingerprint":null,"key_id":null,"serial":2,"state":"pending"}}},"schema":1}');
CREATE TABLE sources (
	name VARCHAR NOT NULL,
	cursor TEXT,
	watermark BIGINT,
	since BIGINT,
	late INTEGER NOT NULL,
	CONSTRAINT pk_sources PRIMARY KEY (name)
);
INSERT INTO "sources" VALUES('log','17',1901149199999999,1901149199999999,0);
CREATE TABLE tokens (
	name VARCHAR NOT NULL,
	role VARCHAR NOT NULL,
	source VARCHAR,
	digest VARCHAR NOT NULL,
	CONSTRAINT pk_tokens PRIMARY KEY (name)
);
INSERT INTO "tokens" VALUES('ops','operator',NULL,'0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE usage (
	credential VARCHAR NOT NULL,
	start BIGINT NOT NULL,
	client VARCHAR NOT NULL,
	serial INTEGER NOT NULL,
	length BIGINT NOT NULL,
	source VARCHAR NOT NULL,
	late BOOLEAN NOT NULL,
	successes BIGINT NOT NULL,
	failures BIGINT NOT NULL,
	unauthenticated BIGINT NOT NULL,
	CONSTRAINT pk_usage PRIMARY KEY (credential, start, client, serial, length, source, late)
)
 WITHOUT ROWID

;
INSERT INTO "usage" VALUES('full',1901149109999999,'web',1,10000000,'log',0,3,1,2);
CREATE TABLE uses (
	credential VARCHAR NOT NULL,
	client VARCHAR NOT NULL,
	serial INTEGER NOT NULL,
	first_use BIGINT NOT NULL,
	last_use BIGINT NOT NULL,
	last_success BIGINT,
	last_refusal BIGINT,
	CONSTRAINT pk_uses PRIMARY KEY (credential, client, serial)
)
 WITHOUT ROWID

;
INSERT INTO "uses" VALUES('full','web',1,1901149109999999,1901149119999999,1901149119999999,1901149119999999);
CREATE TABLE versions (
	credential VARCHAR NOT NULL,
	serial INTEGER NOT NULL,
	state VARCHAR NOT NULL,
	key_id VARCHAR,
	fingerprint VARCHAR,
	compromised_at BIGINT,
	CONSTRAINT pk_versions PRIMARY KEY (credential, serial),
	CONSTRAINT fk_versions_credential_credentials FOREIGN KEY(credential) REFERENCES credentials (name)
);
INSERT INTO "versions" VALUES('idle',1,'destroyed','idle-1','0000000000000000000000000000000000000000000000000000000000000001',NULL);
INSERT INTO "versions" VALUES('idle',2,'current',NULL,NULL,NULL);
INSERT INTO "versions" VALUES('full',1,'disabled','payments/api-key-1','0000000000000000000000000000000000000000000000000000000000000001',1901149199999999);
INSERT INTO "versions" VALUES('full',2,'current','payments/api-key-2','0000000000000000000000000000000000000000000000000000000000000002',NULL);
INSERT INTO "versions" VALUES('full',11,'pending',NULL,NULL,NULL);
INSERT INTO "versions" VALUES('young',1,'current','young-1','0000000000000000000000000000000000000000000000000000000000000001',NULL);
INSERT INTO "versions" VALUES('young',2,'pending',NULL,NULL,NULL);
INSERT INTO "versions" VALUES('back',1,'current','back-1','0000000000000000000000000000000000000000000000000000000000000001',NULL);
INSERT INTO "versions" VALUES('back',2,'pending',NULL,NULL,NULL);
INSERT INTO "versions" VALUES('new',1,'current','new-1','0000000000000000000000000000000000000000000000000000000000000001',NULL);
CREATE INDEX ix_credentials_due_at ON credentials (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_usage_client ON usage (credential, client, start);
CREATE INDEX ix_deliveries_waiting ON deliveries (number) WHERE waiting IS 1;
CREATE INDEX ix_rotations_credential ON rotations (credential);
CREATE INDEX ix_rotations_live ON rotations (number) WHERE live IS 1;
CREATE UNIQUE INDEX uq_rotations_live ON rotations (credential) WHERE live IS 1;
CREATE INDEX ix_versions_key_id ON versions (key_id);
CREATE INDEX ix_intents_open ON intents (credential) WHERE state = 'open';
CREATE INDEX ix_intents_rotation ON intents (rotation);
COMMIT;
