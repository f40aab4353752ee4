SELECT a.kind, a.oid, a.nspname, a.name, a.known
FROM (
  SELECT 'function' AS kind, 0::pg_catalog.oid AS oid, n.nspname, p.proname AS name,
    pg_catalog.bool_and(e.objid IS NOT NULL AND r.rolsuper) AS known
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) p.oid
    AND e.classid OPERATOR(pg_catalog.=) 1255 AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE p.oid OPERATOR(pg_catalog.>=) 16384
  GROUP BY n.nspname, p.proname
  UNION ALL
  SELECT 'operator', 0::pg_catalog.oid, n.nspname, o.oprname,
    pg_catalog.bool_and(e.objid IS NOT NULL AND r.rolsuper)
  FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) o.oprowner
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) o.oid
    AND e.classid OPERATOR(pg_catalog.=) 2617 AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE o.oid OPERATOR(pg_catalog.>=) 16384
    AND o.oprcode::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384
  GROUP BY n.nspname, o.oprname
  UNION ALL
  SELECT 'type', t.oid, n.nspname, t.typname,
    f.objid IS NOT NULL AND e.objid IS NOT NULL AND r.rolsuper
  FROM pg_catalog.pg_cast c
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.casttarget
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
  LEFT JOIN pg_catalog.pg_depend f ON f.objid OPERATOR(pg_catalog.=) p.oid
    AND f.classid OPERATOR(pg_catalog.=) 1255 AND f.deptype OPERATOR(pg_catalog.=) 'e'
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) c.oid
    AND e.classid OPERATOR(pg_catalog.=) 2605 AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE c.castfunc OPERATOR(pg_catalog.>=) 16384
  UNION ALL
  SELECT 'implicit', t.oid, '', '',
    f.objid IS NOT NULL AND e.objid IS NOT NULL AND r.rolsuper
  FROM pg_catalog.pg_cast c
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.castsource
    OR t.oid OPERATOR(pg_catalog.=) c.casttarget
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
  LEFT JOIN pg_catalog.pg_depend f ON f.objid OPERATOR(pg_catalog.=) p.oid
    AND f.classid OPERATOR(pg_catalog.=) 1255 AND f.deptype OPERATOR(pg_catalog.=) 'e'
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) c.oid
    AND e.classid OPERATOR(pg_catalog.=) 2605 AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE c.castfunc OPERATOR(pg_catalog.>=) 16384 AND c.castcontext OPERATOR(pg_catalog.=) 'i'
    AND t.oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL
  SELECT 'type', t.oid, n.nspname, t.typname, e.objid IS NOT NULL AND r.rolsuper
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) t.typowner
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) t.oid
    AND e.classid OPERATOR(pg_catalog.=) 1247 AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE t.typinput::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL
  SELECT 'type', t.oid, n.nspname, t.typname, e.objid IS NOT NULL AND r.rolsuper
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) c.oid
    AND d.classid OPERATOR(pg_catalog.=) 2606
    AND d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,1247,2617}')
  LEFT JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
    AND d.refclassid OPERATOR(pg_catalog.=) 2617
  LEFT JOIN pg_catalog.pg_type u ON u.oid OPERATOR(pg_catalog.=) d.refobjid
    AND d.refclassid OPERATOR(pg_catalog.=) 1247
  LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=)
    COALESCE(o.oprowner, u.typowner)
  LEFT JOIN pg_catalog.pg_depend e ON e.objid OPERATOR(pg_catalog.=) d.refobjid
    AND e.classid OPERATOR(pg_catalog.=) d.refclassid
    AND e.deptype OPERATOR(pg_catalog.=) 'e'
  WHERE c.contype OPERATOR(pg_catalog.=) 'c' AND c.contypid OPERATOR(pg_catalog.<>) 0
    AND d.refobjid OPERATOR(pg_catalog.>=) 16384
    AND d.refobjid OPERATOR(pg_catalog.<>) c.contypid
    AND (u.oid IS NULL OR u.typtype OPERATOR(pg_catalog.=) ANY ('{c,d}')
      OR u.typinput::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384)
) a
LEFT JOIN (
  SELECT DISTINCT s.proname FROM pg_catalog.pg_proc s WHERE s.oid OPERATOR(pg_catalog.<) 16384
) s ON s.proname OPERATOR(pg_catalog.=) a.name
ORDER BY a.kind OPERATOR(pg_catalog.=) 'function' AND s.proname IS NULL
LIMIT 200000
