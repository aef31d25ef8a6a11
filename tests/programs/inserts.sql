PRAGMA synchronous = OFF;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, number INTEGER, data BLOB);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @ROWS@)
INSERT INTO t SELECT i, printf('name-%d', i * 7919 % 100003), i * 31 % 1009, zeroblob(i % 50) FROM n;
COMMIT;
CREATE INDEX by_name ON t(name);
CREATE INDEX by_number ON t(number, name);
UPDATE t SET name = name || '-' || number WHERE id % 3 = 0;
DELETE FROM t WHERE id % 11 = 0;
SELECT count(*), sum(number), sum(length(name)), sum(length(data)) FROM t;
SELECT number, count(*), min(name), max(name) FROM t GROUP BY number HAVING number % 50 = 0 ORDER BY number;
SELECT a.id, b.id, a.name FROM t a JOIN t b ON a.number = b.number AND a.id < b.id
  WHERE a.id < 60 ORDER BY a.id, b.id LIMIT 200;
SELECT substr(group_concat(name), 1, 2000) FROM (SELECT name FROM t WHERE number = 7 ORDER BY id);
SELECT json_group_array(json_object('id', id, 'name', name)) FROM (SELECT * FROM t WHERE id < 40 ORDER BY id);
VACUUM;
PRAGMA integrity_check;
SELECT name FROM missing;
