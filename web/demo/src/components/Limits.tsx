/** What the model does not know, from its manifest and its calibration. */

import { parameters, result } from "../state/forecast";
import { model } from "../state/model";
import { text } from "../texts";
import { groupName, groupNames } from "./markets";

const CARD = "model/README.md";

export function Limits() {
  const facts = model.value;
  const { horizon } = result.value?.settings ?? parameters.value;
  return (
    <section class="card" aria-labelledby="limits-title" data-limits>
      <h2 id="limits-title">{text("limits.title")}</h2>
      <ul class="notes">
        <li>
          {facts ? text("limits.candles_most", { most: facts.context - horizon, horizon }) : text("limits.candles")}
        </li>
        <li>{text("limits.direction")}</li>
        {facts && (
          <li>
            {facts.groups.length
              ? text("limits.calibrated", { groups: groupNames(facts.groups) })
              : text("limits.uncalibrated")}
          </li>
        )}
        <li>
          <strong>{text("limits.advice")}</strong>
        </li>
        {facts && (
          <li>
            <a href={CARD}>{text("limits.card")}</a>
          </li>
        )}
        {facts?.licence && <li>{text("limits.licence", { licence: facts.licence })}</li>}
      </ul>
      {facts?.trainedUntil && (
        <details>
          <summary>{text("limits.trained", { model: facts.name })}</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">{text("limits.market")}</th>
                <th scope="col">{text("limits.until")}</th>
              </tr>
            </thead>
            <tbody>
              {Object.entries(facts.trainedUntil).map(([group, date]) => (
                <tr key={group}>
                  <th scope="row">{groupName(group)}</th>
                  <td>{date}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </section>
  );
}
