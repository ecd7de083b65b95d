// What a species' fact sheet says, section by section; what was not measured is told as such.

import { curveOf, percentExactly } from "./curves.js";
import { facts, h, section, statusChips } from "./dom.js";
import { number } from "./format.js";

const IUCN = {
  LC: "least concern", NT: "near threatened", VU: "vulnerable", EN: "endangered", CR: "critically endangered",
  RE: "regionally extinct", EX: "extinct", DD: "data deficient", NE: "not evaluated",
};
const ELLENBERG = { light: 9, temperature: 9, moisture: 12, reaction: 9, nutrients: 9 }; // the highest value of each scale
const data = (value, text, name) => h("data", { value, "data-figure": name }, text);

function status(sheet) {
  const traits = sheet.traits;
  const annexes = traits.habitats_directive ? `yes, annex ${traits.habitats_directive}` : "yes";
  return section("Status", facts([
    ["Family", traits.family], ["Growth form", traits.growth_form],
    ["Red list", sheet.iucn ? `${sheet.iucn}, ${IUCN[sheet.iucn] ?? "category of its list"}` : "not in the list"],
    ["Habitats Directive", sheet.protected ? annexes : "no"],
    ["Invasive alien of Union concern", sheet.invasive ? "yes" : "no"], ["Endemic", sheet.endemic ? "yes" : "no or not known"],
    ["Sensitive", traits.sensitive_km > 0 ? `yes, shown in squares of ${number(traits.sensitive_km)} km` : null],
  ]));
}

/** Indicator values on their scales. */
function values(sheet) {
  const known = Object.entries(ELLENBERG).filter(([name]) => Number.isFinite(sheet.traits[`ellenberg_${name}`]));
  if (!known.length) return null;
  return section("Indicator values", h("dl", { class: "scales" }, known.flatMap(([name, most]) => {
    const value = sheet.traits[`ellenberg_${name}`];
    return [h("dt", {}, name), h("dd", {}, h("span", { class: "scale", "aria-hidden": "true", style: { "--at": `${((value - 1) / (most - 1)) * 100}%` } }), `${number(value)} of ${most}`)];
  })));
}

function area(sheet) {
  const { region } = sheet;
  if (!region) return section("On this map", h("p", { class: "state" }, "No cell of this release is mapped."));
  const plot = sheet.reference_area_m2 ? `plots of ${number(sheet.reference_area_m2)} m²` : "plots";
  return section("On this map", facts([
    [`Expected in ${plot}`, data(region.mean_probability, percentExactly(region.mean_probability), "mean_probability")],
    ["In the best cell", data(region.highest_probability, percentExactly(region.highest_probability), "highest_probability")],
    ["In the most likely list of", region.listed === null ? null : data(region.listed, `${percentExactly(region.listed)} of the cells`, "listed")],
    ["Within the model's area of applicability", region.applicable === null ? "not mapped"
      : data(region.applicable, `${percentExactly(region.applicable)} of the cells`, "applicable")],
    ["", region.applicable_occurrences === null ? null : `${percentExactly(region.applicable_occurrences)} of its expected occurrences`],
  ]), h("table", { class: "figures" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Probability of at least"), h("th", { scope: "col" }, "Share of the map"))),
    h("tbody", {}, region.shares.map(({ least, share }) => h("tr", {}, h("th", { scope: "row" }, percentExactly(least)), h("td", {}, percentExactly(share)))))),
  h("p", { class: "quiet" }, `${number(region.cells)} cells of ${region.cell_m} m, ${number(region.km2)} km²${sheet.reference_year ? `; as of ${sheet.reference_year}` : ""}.`));
}

function learned(sheet) {
  const known = sheet.learned && (sheet.learned.surveys !== null || sheet.learned.records !== null);
  return section("Learned from", known
    ? facts([["Surveys with the species", data(sheet.learned.surveys, number(sheet.learned.surveys), "surveys")], ["Presence-only records", data(sheet.learned.records, number(sheet.learned.records), "records")]])
    : h("p", { class: "state" }, "This version of the maps does not say what the model learned from."));
}

function skill(sheet) {
  const one = sheet.skill;
  if (!one) return section("Skill", h("p", { class: "state" }, "Not evaluated: this version of the maps carries no measurement on held-out blocks."));
  const blocks = one.blocks ? ` in ${number(one.blocks)} blocks` : "";
  const better = one.log_loss < one.log_loss_of_prevalence;
  return section("Skill on held-out blocks",
    facts([
      ["AUC", one.auc === null ? "not measured: fewer than 5 surveys with or without it" : data(one.auc, `${one.auc.toFixed(2)} ± ${one.auc_se?.toFixed(2) ?? "?"}`, "auc")],
      ["Surveys with the species", h("span", {}, data(one.present, `${number(one.present)} found`, "present"), ", ", data(one.expected, `${number(one.expected)} expected`, "expected"))],
      ["Log loss", `${one.log_loss.toFixed(3)}; by mere frequency ${one.log_loss_of_prevalence.toFixed(3)}${better ? "" : " (no better)"}`],
    ]),
    h("p", { class: "quiet" }, `${number(one.surveys)} surveys${blocks} that the model never saw. AUC: chance that a survey with the species has the higher probability of two; 0.5 is a guess. ± is one standard error.`));
}

function responses(sheet) {
  if (!sheet.responses.length) return section("Response curves", h("p", { class: "state" }, "None travel with this version of the maps."));
  return section("Response curves", h("p", { class: "lead" }, "Mean over surveyed places, and the band of 80 % of them; ticks at the bottom are surveys."),
    h("div", { class: "curves" }, sheet.responses.map((curve) => curveOf(curve, sheet.name))));
}

function importance(sheet) {
  if (!sheet.importance.length) return null;
  const bars = (rows) => {
    const most = Math.max(...rows.map((row) => row.more_log_loss ?? 0), 1e-9);
    return h("table", { class: "figures bars" }, h("thead", {}, h("tr", {}, ["Taken from other places", "Log loss grows by"].map((word) => h("th", { scope: "col" }, word)), h("th", { scope: "col", class: "unseen" }, "Bar"))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.title), h("td", {}, row.more_log_loss === null ? "–" : row.more_log_loss.toFixed(4).replace("-", "−")),
        h("td", { "aria-hidden": "true" }, h("span", { class: "bar" }, h("span", { style: { width: `${(Math.max(0, row.more_log_loss ?? 0) / most) * 100}%` } })))))));
  };
  const [whole, single] = [sheet.importance.filter((row) => !row.channel), sheet.importance.filter((row) => row.channel)];
  return section("What the model looks at", h("p", { class: "lead" }, "For all species together"), whole.length ? bars(whole) : null,
    single.length ? h("details", { class: "as-table" }, h("summary", {}, "Single inputs"), bars(single)) : null);
}

/** Notes and source at the end of every sheet. */
export function foot(sheet, ...more) {
  return h("footer", {}, sheet.notes.map((note) => h("p", {}, note)),
    h("p", {}, [sheet.attribution, sheet.license, `release ${sheet.release}`, ...more].filter(Boolean).join(" · ")));
}

/**
 * A species' sheet.
 * @param {object} sheet answer of GET /species/{name}
 * @returns {{name: string, title: Array, body: Array}}
 */
export function speciesSheet(sheet) {
  const title = [h("i", { class: "latin", lang: "la" }, sheet.name), sheet.vernacular ? h("small", {}, sheet.vernacular) : null].filter(Boolean);
  const chips = statusChips(sheet);
  const model = sheet.model && `model ${sheet.model.model}`;
  const body = [chips.length ? h("div", { class: "chips" }, chips) : null, h("div", { class: "columns" }, [area(sheet), status(sheet), skill(sheet), learned(sheet), values(sheet)].filter(Boolean)),
    responses(sheet), importance(sheet), foot(sheet, model)];
  return { name: sheet.name, title, body: body.filter(Boolean) };
}
