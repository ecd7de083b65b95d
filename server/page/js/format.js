// Numbers and places as people read them.

const wide = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** Three significant digits below a thousand, whole numbers above. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "no value";
  return (Math.abs(value) >= 1000 ? wide : fine).format(value).replace("-", "−");
}

/** A probability 0..1 as per cent; small ones stay visible as "< 1 %". */
export function percent(value) {
  const hundredths = value * 100;
  if (hundredths > 0 && hundredths < 1) return "< 1 %";
  return `${Math.round(hundredths)} %`;
}

/** "1" is the CF spelling of no unit: nothing is printed for it. */
export function unit(units) {
  if (!units || units === "1") return "";
  return { degC: "°C", degree_Celsius: "°C", degrees: "°", degree: "°", "%": "%" }[units] ?? units;
}

/** A value with its unit; species are probabilities and read as per cent. */
export function quantity(value, layer) {
  if (layer.product === "species") return percent(value);
  const suffix = unit(layer.units);
  return suffix ? `${number(value)} ${suffix}` : number(value);
}

function sexagesimal(degrees, letters) {
  const seconds = Math.round(Math.abs(degrees) * 3600);
  const [d, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${d}°${String(m).padStart(2, "0")}′${String(s).padStart(2, "0")}″ ${letters[degrees < 0 ? 1 : 0]}`;
}

/** Latitude and longitude in degrees, minutes and seconds, as on a herbarium label. */
export function place([lon, lat]) {
  return `${sexagesimal(lat, "NS")}  ${sexagesimal(lon, "EW")}`;
}
