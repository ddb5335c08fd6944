-- The privileges of the service's role in the catalogue that need PostGIS. All roles may read its reference systems.
GRANT SELECT ON polygons TO {role};
