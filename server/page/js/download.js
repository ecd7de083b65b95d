// What a report becomes in the reader's hands: a file, a sheet of paper.

/**
 * Give the reader a file.
 * @param {string} name
 * @param {string} text
 * @param {string} type MIME type
 */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(URL.revokeObjectURL, 10_000, url);
}

/**
 * Print a page that the server wrote, without leaving this one.
 * @param {string} html
 */
export function print(html) {
  document.getElementById("printed")?.remove();
  // no display: none, or some browsers print an empty sheet
  const frame = Object.assign(document.createElement("iframe"), { id: "printed", title: "Report to print", tabIndex: -1, srcdoc: html });
  frame.sandbox = "allow-same-origin allow-modals"; // we may print it; nothing in it runs
  frame.addEventListener("load", () => frame.contentWindow.print());
  document.body.append(frame);
}
