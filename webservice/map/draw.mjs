// Draw the maps of the reports: `npm install && npm run draw`. README.md explains the file that this writes.
import { readFileSync, writeFileSync } from "node:fs";
import { geoArea, geoCentroid, geoConicEqualArea, geoNaturalEarth1, geoPath } from "d3-geo";
import { feature, mergeArcs } from "topojson-client";
import { filter, filterAttachedWeight, presimplify, simplify } from "topojson-simplify";

const HERE = new URL(".", import.meta.url);
const OUTPUT = new URL("../eida_stats_webservice/reports/data/map.json", HERE);

// Areas that Natural Earth draws without an ISO number or with another country than ISO 3166 lists them. An area with
// the name `from` and its centre in `box` (west, south, east, north) is drawn as `to`. The default box is the world.
const MOVES = [
  { from: "Kosovo", to: "XK" },
  { from: "N. Cyprus", to: "CY" },
  { from: "Cyprus U.N. Buffer Zone", to: "CY" },
  { from: "Somaliland", to: "SO" },
  { from: "USNB Guantanamo Bay", to: "CU" },
  { from: "Baikonur", to: "KZ" },
  { from: "Indian Ocean Ter.", to: "CX", box: [105, -11, 106, -10] },
  { from: "Indian Ocean Ter.", to: "CC", box: [96, -13, 97, -11] },
  { from: "France", to: "GF", box: [-55, 2, -51, 6] },
  { from: "France", to: "GP", box: [-62, 15.8, -60.9, 16.6] },
  { from: "France", to: "MQ", box: [-61.3, 14.3, -60.8, 15] },
  { from: "France", to: "RE", box: [55, -21.5, 56, -20.8] },
  { from: "France", to: "YT", box: [45, -13.1, 45.4, -12.6] },
  { from: "Netherlands", to: "BQ", box: [-69, 12, -62, 18] },
  { from: "New Zealand", to: "TK", box: [-173, -10, -171, -8] },
  { from: "Norway", to: "BV", box: [3, -55, 4, -54] },
  { from: "Norway", to: "SJ", box: [-10, 70, -7, 72] }, // Jan Mayen
  { from: "Norway", to: "SJ", box: [10, 74, 35, 81] }, // Svalbard
  { from: "Russia", to: "UA", box: [32, 44, 36, 46.5] }, // Crimea
];
const LEFT_OUT = ["AQ", "BV", "UM"];

// Lengths are in units of the map. A pixel is this many units at the usual width of the map.
const UNITS = 5;
const MARGIN = 4 * UNITS; // room for a dot at the edge
const SMALLEST_COUNTRY = 6 * UNITS ** 2; // smaller ones are drawn as dots
const SMALLEST_ISLAND = 0.5 * UNITS ** 2; // smaller ones are left out
const SMALLEST_CORNER = 0.25 * UNITS ** 2; // area of the triangle of a point and its neighbours

// A map has this width. Its height fits the points (longitude, latitude) of its frame.
const MAPS = {
  world: {
    // The map is cut in the Bering Strait, so that neither Russia nor Fiji is split.
    projection: geoNaturalEarth1().rotate([-11.5, 0]),
    width: 720 * UNITS,
    frame: [[-157.4, 1.9], [-169.9, -19], [-34, 83.6], [-70, -56]],
  },
  europe: {
    projection: geoConicEqualArea().parallels([40, 64]).rotate([-11, 0]),
    width: 360 * UNITS,
    frame: [[-24.6, 65.5], [-9.5, 38.8], [44.8, 39.5], [24, 34.8], [25.8, 71.2]],
  },
};

function readJson(path) {
  return JSON.parse(readFileSync(new URL(path, HERE), "utf8"));
}

// Return Natural Earth's topology in a scale ("50m"), with one geometry for each country code. All areas without a
// code form one geometry with an empty code.
function readCountries(scale, numbers) {
  const topology = readJson(`node_modules/world-atlas/countries-${scale}.json`);
  const parts = new Map();
  for (const { type, arcs, id, properties } of topology.objects.countries.geometries) {
    for (const polygon of type === "Polygon" ? [arcs] : arcs) {
      const part = { type: "Polygon", arcs: polygon };
      const code = findMove(properties.name, geoCentroid(feature(topology, part))) ?? numbers[id] ?? "";
      parts.set(code, [...(parts.get(code) ?? []), part]);
    }
  }
  LEFT_OUT.forEach((code) => parts.delete(code));
  // Merging removes the borders between the parts of a country.
  const geometries = [...parts].map(([code, polygons]) => ({ ...mergeArcs(topology, polygons), id: code }));
  return { ...topology, objects: { countries: { type: "GeometryCollection", geometries } } };
}

function findMove(name, [longitude, latitude]) {
  const move = MOVES.find(({ from, box: [west, south, east, north] = [-180, -90, 180, 90] }) => {
    return from === name && west <= longitude && longitude <= east && south <= latitude && latitude <= north;
  });
  return move?.to;
}

function listCountries(topology) {
  return topology.objects.countries.geometries.map((geometry) => feature(topology, geometry));
}

// Return the centre of the largest part of each country.
function findPositions(topology) {
  return listCountries(topology).map(({ id, geometry }) => {
    const parts = geometry.coordinates.map((rings) => ({ type: "Polygon", coordinates: rings }));
    return [id, geoCentroid(parts.reduce((largest, part) => (geoArea(part) > geoArea(largest) ? part : largest)))];
  });
}

// Return the projection, moved and scaled to the frame, and the size of the map.
function fitMap({ projection, width, frame }) {
  const points = { type: "MultiPoint", coordinates: frame };
  projection.fitWidth(width - 2 * MARGIN, points);
  projection.translate(projection.translate().map((length) => length + MARGIN));
  const height = Math.ceil(geoPath(projection).bounds(points)[1][1]) + MARGIN;
  return { projection: projection.clipExtent([[0, 0], [width, height]]), width, height };
}

// Return a map: its size, the outlines of countries, dots for those without, and the outlines of all other land.
function drawMap({ projection, width, height }, topology, positions) {
  const path = geoPath(projection);
  const areas = new Map(listCountries(topology).map((country) => [country.id, path.area(country)]));
  const paths = {};
  let land = "";
  for (const country of listCountries(simplifyFor(projection, topology))) {
    const outline = writeOutline(projection, country);
    if (country.id && areas.get(country.id) >= SMALLEST_COUNTRY) paths[country.id] = outline;
    else land += outline;
  }
  const dots = {};
  for (const [code, position] of positions) {
    const [x, y] = projection(position).map(Math.round);
    if (code && !(code in paths) && 0 <= x && x <= width && 0 <= y && y <= height) dots[code] = [x, y];
  }
  return { width, height, paths: sortKeys(paths), dots: sortKeys(dots), land };
}

// Return the topology without invisible points and islands. Neighbours keep a common border.
function simplifyFor(projection, topology) {
  const area = (ring) => planarArea(ring.map((point) => projection(point)));
  const simplified = simplify(presimplify(topology, area), SMALLEST_CORNER);
  return filter(simplified, filterAttachedWeight(simplified, SMALLEST_ISLAND, area));
}

function planarArea(ring) {
  const products = ring.map(([x, y], i) => ring.at(i - 1)[0] * y - x * ring.at(i - 1)[1]);
  return Math.abs(products.reduce((sum, product) => sum + product, 0)) / 2;
}

// Return the outline of a country as an SVG path of whole numbers, relative after the first point of each ring.
function writeOutline(projection, country) {
  const rings = [];
  const recorder = {
    moveTo: (x, y) => rings.push([[Math.round(x), Math.round(y)]]),
    lineTo: (x, y) => rings.at(-1).push([Math.round(x), Math.round(y)]),
    closePath: () => {},
  };
  geoPath(projection, recorder)(country);
  return rings.map(writeRing).join("");
}

function writeRing(points) {
  const corners = points.filter(([x, y], i) => x !== points.at(i - 1)[0] || y !== points.at(i - 1)[1]);
  if (corners.length < 3) return "";
  let outline = `M${join(corners[0])}`;
  let last = "M";
  for (let i = 1; i < corners.length; i++) {
    const [dx, dy] = [corners[i][0] - corners[i - 1][0], corners[i][1] - corners[i - 1][1]];
    const [command, lengths] = dy === 0 ? ["h", [dx]] : dx === 0 ? ["v", [dy]] : ["l", [dx, dy]];
    const separator = command !== last ? command : lengths[0] < 0 ? "" : " ";
    outline += separator + join(lengths);
    last = command;
  }
  return `${outline}z`;
}

function join(numbers) {
  return numbers.join(" ").replaceAll(" -", "-");
}

function sortKeys(table) {
  return Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const { numbers, names, not_a_country: others } = readJson("countries.json");
const countries = readCountries("50m", numbers);
// Only the finest scale contains the smallest countries.
const positions = findPositions(readCountries("10m", numbers));
const maps = Object.entries(MAPS).map(([name, map]) => [name, drawMap(fitMap(map), countries, positions)]);
const tables = {
  ...Object.fromEntries(maps),
  names: { ...names, ...others },
  not_on_map: [...LEFT_OUT, ...Object.keys(others)],
};
writeFileSync(OUTPUT, `${JSON.stringify(tables)}\n`);
